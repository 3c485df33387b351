// SPDX-License-Identifier: EUPL-1.2
//! C2SP signed-note, tlog-checkpoint and tlog-cosignature.
