// SPDX-License-Identifier: EUPL-1.2
//! Typed readers over [`super::State`]: keys, institutions, roles, delegations, nodes, rules, policy, consents.
