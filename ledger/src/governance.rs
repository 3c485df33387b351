// SPDX-License-Identifier: EUPL-1.2
//! Genesis and governance: threshold, order, registry.
