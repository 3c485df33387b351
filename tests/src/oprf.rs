// SPDX-License-Identifier: EUPL-1.2
//! The key of the test ledger's pseudonyms, as its operators hold it: sealed to each node's own identity. Sealed here with the age library alone,
//! so that the node is held to the documented form of the file.

use std::{fs, os::unix::fs::PermissionsExt, path::Path};

use age::{Encryptor, secrecy::ExposeSecret, x25519};
use ledger::{
    base64,
    oprf::{OprfPublicKey, OprfSecretKey},
};

use crate::world;

/// The key of an epoch; the first is genesis'.
///
/// # Panics
/// Practically never.
pub fn key(epoch: u32) -> OprfSecretKey {
    let seed = world::seed("oprf", &format!("epoch {epoch}"));
    OprfSecretKey::derive(&seed).expect("a key")
}

/// Its public half as entries name it.
pub fn public(epoch: u32) -> String {
    base64::url_encode(key(epoch).public().as_bytes())
}

/// The same, for clients.
pub fn public_key(epoch: u32) -> OprfPublicKey {
    key(epoch).public()
}

/// Writes a new identity, which its owner alone may read.
///
/// # Panics
/// If it cannot be written.
pub fn write_identity(file: &Path) {
    let identity = x25519::Identity::generate();
    let text = format!("{}\n", identity.to_string().expose_secret());
    fs::write(file, text).expect("the identity");
    fs::set_permissions(file, fs::Permissions::from_mode(0o600)).expect("the identity's mode");
}

/// Seals a key to the identity of a file.
///
/// # Panics
/// If it cannot.
pub fn seal(key: &OprfSecretKey, identity: &Path, file: &Path) {
    use std::io::Write;
    let recipient = read_identity(identity).to_public();
    let encryptor = Encryptor::with_recipients(std::iter::once(&recipient as _)).expect("age");
    let mut sealed = Vec::new();
    let mut writer = encryptor.wrap_output(&mut sealed).expect("age");
    let plain = format!(
        "visto-oprf-1 {}\n",
        base64::url_encode(key.to_bytes().as_slice())
    );
    writer.write_all(plain.as_bytes()).expect("age");
    writer.finish().expect("age");
    fs::write(file, sealed).expect("the sealed key");
}

/// Opens a sealed key, as whoever has the identity can.
///
/// # Panics
/// If it does not open.
pub fn unseal(identity: &Path, file: &Path) -> OprfSecretKey {
    let sealed = fs::read(file).expect("the sealed key");
    let plain = age::decrypt(&read_identity(identity), &sealed).expect("it opens");
    let plain = String::from_utf8(plain).expect("text");
    let scalar = plain.trim().strip_prefix("visto-oprf-1 ").expect("a key");
    let scalar = base64::url_decode_array(scalar).expect("32 bytes");
    OprfSecretKey::from_bytes(&scalar).expect("a scalar")
}

fn read_identity(file: &Path) -> x25519::Identity {
    let text = fs::read_to_string(file).expect("the identity");
    text.trim().parse().expect("an identity")
}
