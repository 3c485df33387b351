// SPDX-License-Identifier: EUPL-1.2
//! Publishes checkpoints that a majority of nodes cosigned.
