// SPDX-License-Identifier: EUPL-1.2
//! What a node keeps on disk.

pub(crate) mod snapshot;
