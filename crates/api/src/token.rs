//! The token that whoever sends events shows: 32 random bytes in `keys/api.token`, made at the first start.
//!
//! The file is its owner's alone (mode 0600); one that others can read is not used. It outlives the instance, so that senders keep it
//! in their configuration.

use std::{
    fs::File,
    io::{self, Read as _},
    os::unix::fs::PermissionsExt as _,
    path::Path,
};

use axum::http::{HeaderMap, header};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use grace_kernel::private;
use grace_types::chance::Entropy;
use subtle::ConstantTimeEq as _;

/// Bytes of chance in it.
const BYTES: usize = 32;
/// Their digits in base 64, without padding.
const DIGITS: usize = 43;

/// See the module's page.
pub struct Token(String);

impl Token {
    /// Reads the token at `path`, or makes one.
    ///
    /// # Errors
    /// The file cannot be read or written, is no token, or can be read by others.
    pub fn load_or_make(path: &Path, entropy: &mut dyn Entropy) -> io::Result<Self> {
        let named = |e: io::Error| io::Error::new(e.kind(), format!("{}: {e}", path.display()));
        match File::open(path) {
            Ok(file) => read(file).map_err(named),
            Err(e) if e.kind() == io::ErrorKind::NotFound => make(path, entropy).map_err(named),
            Err(e) => Err(named(e)),
        }
    }

    /// Whether a request shows it (`Authorization: Bearer …`). Takes the same time however much of a wrong one is right.
    #[must_use]
    pub fn is_shown(&self, headers: &HeaderMap) -> bool {
        let shown = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
        let Some((scheme, shown)) = shown.and_then(|value| value.split_once(' ')) else { return false };
        scheme.eq_ignore_ascii_case("bearer") && bool::from(shown.trim().as_bytes().ct_eq(self.0.as_bytes()))
    }
}

fn read(file: File) -> io::Result<Token> {
    let mode = file.metadata()?.permissions().mode() & 0o777;
    if mode & 0o077 != 0 {
        return Err(io::Error::other(format!(
            "others can read it (mode {mode:03o}): chmod 600, or delete it for a new one"
        )));
    }
    let mut text = String::new();
    file.take(1024).read_to_string(&mut text)?;
    let token = text.trim_end();
    let digit = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_');
    if token.len() < DIGITS || !token.bytes().all(digit) {
        return Err(io::Error::other(format!(
            "expected at least {DIGITS} digits of base64url: put the right file back, or delete it for a new one"
        )));
    }
    Ok(Token(token.to_owned()))
}

fn make(path: &Path, entropy: &mut dyn Entropy) -> io::Result<Token> {
    let mut bytes = [0; BYTES];
    entropy.fill(&mut bytes);
    let token = URL_SAFE_NO_PAD.encode(bytes);
    private::write(path, format!("{token}\n").as_bytes())?;
    Ok(Token(token))
}

#[cfg(test)]
mod tests {
    use grace_types::chance::SeededEntropy;

    use super::*;

    fn shown(value: &str) -> HeaderMap {
        [(header::AUTHORIZATION, value.parse().unwrap())].into_iter().collect()
    }

    #[test]
    fn it_is_made_once_for_its_owner_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("keys/api.token");
        let made = Token::load_or_make(&path, &mut SeededEntropy::new(1)).unwrap();
        let again = Token::load_or_make(&path, &mut SeededEntropy::new(2)).unwrap();
        assert_eq!(made.0, again.0);
        assert_eq!(made.0.len(), DIGITS);
        let mode = std::fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
        let refused = Token::load_or_make(&path, &mut SeededEntropy::new(1)).err().unwrap().to_string();
        assert!(refused.contains("api.token: others can read it (mode 644)"), "{refused}");
    }

    #[test]
    fn a_file_that_is_no_token_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("api.token");
        for text in ["", "short", &"ü".repeat(43), &" ".repeat(43)] {
            std::fs::write(&path, text).unwrap();
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
            assert!(Token::load_or_make(&path, &mut SeededEntropy::new(1)).is_err(), "{text}");
        }
    }

    #[test]
    fn only_the_whole_token_is_taken() {
        let folder = tempfile::tempdir().unwrap();
        let token =
            Token::load_or_make(&folder.path().join("api.token"), &mut SeededEntropy::new(1)).unwrap();
        let text = token.0.clone();
        assert!(token.is_shown(&shown(&format!("Bearer {text}"))));
        assert!(token.is_shown(&shown(&format!("bearer  {text}"))));
        for wrong in
            [text.clone(), format!("Basic {text}"), format!("Bearer {}", &text[1..]), "Bearer ".into()]
        {
            assert!(!token.is_shown(&shown(&wrong)), "{wrong}");
        }
        assert!(!token.is_shown(&HeaderMap::new()));
    }
}
