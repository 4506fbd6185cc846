//! C2SP signed-note: a text with signatures under it, and the keys that make and check them.
//!
//! A line of signature names its key by name and a short id, so that any number of signers can stand under one text and a
//! reader ignores those it does not know. Two kinds of signature are known here: Ed25519 over the text (type
//! 0x01), with which a log signs, and the timestamped `cosignature/v1` of witnesses (0x04, C2SP tlog-cosignature), which is
//! checked and not made. A bad signature under a known key spoils the whole note.
//!
//! Deliberately not here: what the text means ([`crate::checkpoint`]), and where keys are kept.

#[cfg(test)]
pub(crate) mod tests;

use std::{fmt, str::FromStr};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use ed25519_dalek::{Signer as _, SigningKey, VerifyingKey};
use grace_types::chance::Entropy;
use sha2::{Digest, Sha256};

use crate::{
    limits::{NAME_BYTES, NOTE_BYTES, NOTE_SIGNATURES},
    tile::shown,
};

const SIGNER_PREFIX: &str = "PRIVATE+KEY+";

/// How a key signs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Algorithm {
    /// Ed25519 over the text.
    Ed25519,
    /// `cosignature/v1`: Ed25519 over a time and the text.
    Cosignature,
}

impl Algorithm {
    /// The identifier that the specification assigns.
    const fn byte(self) -> u8 {
        match self {
            Self::Ed25519 => 1,
            Self::Cosignature => 4,
        }
    }
}

/// Why a text is not a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// Not the parts that a key has, or not hexadecimal or base64 where they belong.
    #[error("not a key: a verifier key reads NAME+ID+BASE64, a signer key PRIVATE+KEY+NAME+ID+BASE64")]
    Malformed,
    /// The name is empty, too long, or has spaces, control characters or plus signs.
    #[error(
        "a key's name has 1 to {NAME_BYTES} bytes and neither spaces nor control characters nor plus signs"
    )]
    Name,
    /// A type of signature that is not known here.
    #[error("the key is of a type that is not supported: only Ed25519 (1) and cosignature/v1 (4) are")]
    Unsupported,
    /// The id does not belong to the name and the key: one of them is damaged.
    #[error("the key's id does not match its name and its bytes: the key is damaged")]
    Id,
}

/// A public key, with which signatures are checked. Shown and parsed in the form `NAME+ID+BASE64`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifierKey {
    name: String,
    id: u32,
    algorithm: Algorithm,
    key: VerifyingKey,
}

impl VerifierKey {
    fn new(name: &str, algorithm: Algorithm, key: VerifyingKey) -> Result<Self, KeyError> {
        if !is_key_name(name) {
            return Err(KeyError::Name);
        }
        let id = key_id(name, algorithm, &key);
        Ok(Self { name: name.to_owned(), id, algorithm, key })
    }

    /// The name that its signatures carry.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The id that its signatures carry.
    #[must_use]
    pub const fn id(&self) -> u32 {
        self.id
    }

    /// How it signs.
    #[must_use]
    pub const fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// `Some` if `signature` is this key's over `text`: for a cosignature with the time at which it was made.
    fn check(&self, text: &str, signature: &[u8]) -> Option<Option<u64>> {
        let (time, signature) = match self.algorithm {
            Algorithm::Ed25519 => (None, signature),
            Algorithm::Cosignature => {
                let (time, signature) = signature.split_first_chunk()?;
                let time = u64::from_be_bytes(*time);
                // The specification's bound: more does not fit a signed number of 64 bits.
                (Some(i64::try_from(time).ok().map(|_| time)?), signature)
            }
        };
        let signature = ed25519_dalek::Signature::from_slice(signature).ok()?;
        let valid = match time {
            None => self.key.verify_strict(text.as_bytes(), &signature),
            Some(time) => self.key.verify_strict(cosigned_message(time, text).as_bytes(), &signature),
        };
        valid.is_ok().then_some(time)
    }
}

impl FromStr for VerifierKey {
    type Err = KeyError;

    fn from_str(text: &str) -> Result<Self, KeyError> {
        let (name, id, algorithm, key) = parse_key(text)?;
        let key = VerifyingKey::from_bytes(&key).map_err(|_| KeyError::Malformed)?;
        let key = Self::new(name, algorithm, key)?;
        if key.id == id { Ok(key) } else { Err(KeyError::Id) }
    }
}

impl fmt::Display for VerifierKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, id, algorithm, key } = self;
        write!(f, "{name}+{id:08x}+{}", key_base64(*algorithm, key.as_bytes()))
    }
}

/// A secret key, with which a log signs. It has no `Display` and shows no secret in `Debug`.
#[derive(Clone)]
pub struct SignerKey {
    verifier: VerifierKey,
    key: SigningKey,
}

impl SignerKey {
    /// A new key for `name`. `entropy` must be fit for secrets ([`grace_types::chance::OsEntropy`]).
    ///
    /// # Errors
    ///
    /// The name cannot be a key's.
    pub fn generate(name: &str, entropy: &mut dyn Entropy) -> Result<Self, KeyError> {
        let mut seed = [0; 32];
        entropy.fill(&mut seed);
        Self::from_seed(name, &seed)
    }

    fn from_seed(name: &str, seed: &[u8; 32]) -> Result<Self, KeyError> {
        let key = SigningKey::from_bytes(seed);
        Ok(Self { verifier: VerifierKey::new(name, Algorithm::Ed25519, key.verifying_key())?, key })
    }

    /// The key in the form `PRIVATE+KEY+NAME+ID+BASE64`. It is the secret: for the key's file alone.
    #[must_use]
    pub fn to_secret_text(&self) -> String {
        let VerifierKey { name, id, algorithm, .. } = &self.verifier;
        format!("{SIGNER_PREFIX}{name}+{id:08x}+{}", key_base64(*algorithm, self.key.as_bytes()))
    }

    /// Reads what [`SignerKey::to_secret_text`] wrote.
    ///
    /// # Errors
    ///
    /// The text is no key, is damaged, or is a key for another type of signature than Ed25519.
    pub fn from_secret_text(text: &str) -> Result<Self, KeyError> {
        let (name, id, algorithm, seed) =
            parse_key(text.strip_prefix(SIGNER_PREFIX).ok_or(KeyError::Malformed)?)?;
        if algorithm != Algorithm::Ed25519 {
            return Err(KeyError::Unsupported);
        }
        let key = Self::from_seed(name, &seed)?;
        if key.verifier.id == id { Ok(key) } else { Err(KeyError::Id) }
    }

    /// The key that checks its signatures.
    #[must_use]
    pub const fn verifier(&self) -> &VerifierKey {
        &self.verifier
    }

    /// Signs `text`, which ends in a newline.
    #[must_use]
    pub fn sign(&self, text: &str) -> Signature {
        let bytes = self.key.sign(text.as_bytes()).to_bytes().to_vec();
        Signature { name: self.verifier.name.clone(), id: self.verifier.id, bytes }
    }
}

impl fmt::Debug for SignerKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SignerKey").field("verifier", &self.verifier.to_string()).finish_non_exhaustive()
    }
}

/// One signature of a note. Shown as its line, without the newline.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signature {
    /// The key's name.
    pub name: String,
    /// The key's id.
    pub id: u32,
    /// What the key made of the text; its form depends on the key's type.
    pub bytes: Vec<u8>,
}

impl Signature {
    /// Reads a line, without its newline.
    #[must_use]
    pub fn parse(line: &str) -> Option<Self> {
        let (name, base64) = line.strip_prefix("— ")?.split_once(' ')?;
        let decoded = STANDARD.decode(base64).ok()?;
        let (id, bytes) = decoded.split_first_chunk()?;
        let whole = is_key_name(name) && !bytes.is_empty();
        whole.then(|| Self { name: name.to_owned(), id: u32::from_be_bytes(*id), bytes: bytes.to_vec() })
    }

    pub(crate) fn is_by(&self, key: &VerifierKey) -> bool {
        self.id == key.id && self.name == key.name
    }
}

impl fmt::Display for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let decoded = [&self.id.to_be_bytes(), self.bytes.as_slice()].concat();
        write!(f, "— {} {}", self.name, STANDARD.encode(decoded))
    }
}

/// A signed note. Its text means nothing until [`Note::verify`] has found a signature that is trusted. Shown as
/// its bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Note {
    /// The text, with its final newline.
    pub text: String,
    /// At least one.
    pub signatures: Vec<Signature>,
}

/// Why a note is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoteError {
    /// Longer than [`NOTE_BYTES`].
    #[error("the note is longer than {NOTE_BYTES} bytes")]
    TooLong,
    /// Not a text, a blank line and signatures.
    #[error("not a signed note: {0}")]
    Malformed(&'static str),
    /// A signature that names a known key is not by that key over this text.
    #[error("the signature by {} does not verify: the note was altered, or it is forged", shown(.0))]
    Invalid(String),
    /// None of the known keys signed.
    #[error("no known key has signed the note")]
    Unsigned,
}

/// A signature that was checked and holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verified {
    /// Place of the key among those that were asked about.
    pub key: usize,
    /// When a witness cosigned, in seconds since 1970; `None` for a plain signature.
    pub time_seconds: Option<u64>,
}

impl Note {
    /// Reads a note. No signature is checked yet.
    ///
    /// # Errors
    ///
    /// It is too long or malformed.
    pub fn parse(bytes: &[u8]) -> Result<Self, NoteError> {
        if bytes.len() > NOTE_BYTES {
            return Err(NoteError::TooLong);
        }
        let note = std::str::from_utf8(bytes).map_err(|_| NoteError::Malformed("it is not UTF-8"))?;
        if note.chars().any(|c| c < ' ' && c != '\n') {
            return Err(NoteError::Malformed("it has control characters"));
        }
        let (text, signatures) = note
            .rsplit_once("\n\n")
            .ok_or(NoteError::Malformed("no blank line stands between text and signatures"))?;
        let lines = signatures
            .strip_suffix('\n')
            .ok_or(NoteError::Malformed("the last line does not end in a newline"))?;
        if lines.split('\n').count() > NOTE_SIGNATURES {
            return Err(NoteError::Malformed("it has too many signatures"));
        }
        let signatures = lines.split('\n').map(Signature::parse).collect::<Option<_>>();
        let signatures = signatures.ok_or(NoteError::Malformed("a line of signature is malformed"))?;
        Ok(Self { text: format!("{text}\n"), signatures })
    }

    /// Which of `keys` have signed, each once, in the order of the signatures. Signatures of other keys are ignored.
    ///
    /// # Errors
    ///
    /// A signature that names one of `keys` is wrong, or none of them signed.
    pub fn verify(&self, keys: &[VerifierKey]) -> Result<Vec<Verified>, NoteError> {
        let mut verified: Vec<Verified> = Vec::new();
        for signature in self.signatures.iter().take(NOTE_SIGNATURES) {
            let Some(key) = keys.iter().position(|key| signature.is_by(key)) else { continue };
            let time_seconds = keys[key]
                .check(&self.text, &signature.bytes)
                .ok_or_else(|| NoteError::Invalid(signature.name.clone()))?;
            if verified.iter().all(|earlier| earlier.key != key) {
                verified.push(Verified { key, time_seconds });
            }
        }
        if verified.is_empty() { Err(NoteError::Unsigned) } else { Ok(verified) }
    }
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.text)?;
        self.signatures.iter().try_for_each(|signature| writeln!(f, "{signature}"))
    }
}

/// What a witness signs (C2SP tlog-cosignature).
fn cosigned_message(time_seconds: u64, text: &str) -> String {
    format!("cosignature/v1\ntime {time_seconds}\n{text}")
}

fn is_key_name(name: &str) -> bool {
    (1..=NAME_BYTES).contains(&name.len())
        && !name.contains(|c: char| c == '+' || c.is_whitespace() || c.is_control())
}

fn key_id(name: &str, algorithm: Algorithm, key: &VerifyingKey) -> u32 {
    let digest: [u8; 32] = Sha256::new()
        .chain_update(name)
        .chain_update([b'\n', algorithm.byte()])
        .chain_update(key.as_bytes())
        .finalize()
        .into();
    digest.first_chunk().map_or(0, |id| u32::from_be_bytes(*id))
}

fn key_base64(algorithm: Algorithm, key: &[u8; 32]) -> String {
    STANDARD.encode([&[algorithm.byte()], key.as_slice()].concat())
}

/// Name, id, type and bytes of `NAME+ID+BASE64`.
fn parse_key(text: &str) -> Result<(&str, u32, Algorithm, [u8; 32]), KeyError> {
    let mut parts = text.splitn(3, '+');
    let (Some(name), Some(id), Some(base64)) = (parts.next(), parts.next(), parts.next()) else {
        return Err(KeyError::Malformed);
    };
    if !is_key_name(name) {
        return Err(KeyError::Name);
    }
    if id.len() != 8 || !id.bytes().all(|b| b.is_ascii_hexdigit()) {
        return Err(KeyError::Malformed);
    }
    let id = u32::from_str_radix(id, 16).map_err(|_| KeyError::Malformed)?;
    // A type that is not known may have keys of any length; nobody needs to decode a long one.
    let mut decoded = [0; 64];
    let length = STANDARD.decode_slice(base64, &mut decoded).map_err(|_| KeyError::Malformed)?;
    let (algorithm, key) = decoded[..length].split_first().ok_or(KeyError::Malformed)?;
    let algorithm = match algorithm {
        1 => Algorithm::Ed25519,
        4 => Algorithm::Cosignature,
        _ => return Err(KeyError::Unsupported),
    };
    Ok((name, id, algorithm, key.try_into().map_err(|_| KeyError::Malformed)?))
}
