// SPDX-License-Identifier: EUPL-1.2
//! RFC 6962 tree over a node reader: nothing needs the whole tree in memory.
