use std::{
    fmt, fs,
    io::{self, Read},
    path::{Path, PathBuf},
    sync::Arc,
};

use super::{
    JwksUrl, JwtError, JwtErrorKind,
    jwk::{BadKeys, Jwk, MAX_DOCUMENT_BYTES},
    key,
};

/// Where the keys of an issuer are.
#[derive(Clone)]
pub struct Keys {
    source: Source,
}

#[derive(Clone)]
pub(super) enum Source {
    /// They are here, and stay.
    Fixed(Arc<[Jwk]>),
    /// In a file, which may change; and what was there when it was named.
    File(Arc<Path>, Arc<[Jwk]>),
    Url(JwksUrl),
}

impl Keys {
    /// The keys of a JWK set (RFC 7517), as its JSON text.
    ///
    /// Keys that are for something else are left out, and so are those that are not safe: RSA keys of
    /// fewer than 2,048 or more than 8,192 bits, or with an exponent that is even or 1; secrets.
    ///
    /// # Errors
    ///
    /// If it is none, is larger than 256 KiB, has more than 128 keys, has two of one name, or none that
    /// is usable.
    pub fn from_jwks(text: &str) -> Result<Self, JwtError> {
        Ok(Self::fixed(Jwk::parse_set(text.as_bytes())?))
    }

    /// The one public key of a PEM text (`BEGIN PUBLIC KEY`). It has no name, and is meant whatever key
    /// a token names.
    ///
    /// # Errors
    ///
    /// If there is none, or more than one, or if it is not usable.
    pub fn from_pem(text: &str) -> Result<Self, JwtError> {
        Ok(Self::fixed(vec![key::from_pem(text.as_bytes())?]))
    }

    /// The keys in a file, which is a JWK set or PEM.
    ///
    /// The file is read at once, and again as a [`JwksUrl`] would be: when a token names a key that is
    /// not known, and from time to time.
    ///
    /// # Errors
    ///
    /// If it cannot be read or is no regular file, or what is there is no usable key.
    pub fn from_file(path: impl Into<PathBuf>) -> Result<Self, JwtError> {
        let path = Arc::from(path.into());
        let jwks = read(&path)?.into();
        Ok(Self {
            source: Source::File(path, jwks),
        })
    }

    fn fixed(jwks: Vec<Jwk>) -> Self {
        Self {
            source: Source::Fixed(jwks.into()),
        }
    }

    #[cfg(test)]
    pub(super) fn none() -> Self {
        Self::fixed(Vec::new())
    }

    pub(super) fn into_source(self) -> Source {
        self.source
    }
}

impl From<JwksUrl> for Keys {
    fn from(url: JwksUrl) -> Self {
        Self {
            source: Source::Url(url),
        }
    }
}

/// Reads a file of keys. Blocks.
pub(super) fn read(path: &Path) -> Result<Vec<Jwk>, JwtError> {
    let text = read_capped(path).map_err(|error| JwtError::new(JwtErrorKind::File, error))?;
    let jwks = if text.trim_ascii_start().starts_with(b"-----BEGIN") {
        key::from_pem(&text).map(|jwk| vec![jwk])
    } else {
        Jwk::parse_set(&text)
    };
    Ok(jwks?)
}

/// One byte more than allowed, so that what is too large is noticed.
fn read_capped(path: &Path) -> io::Result<Vec<u8>> {
    let mut text = Vec::new();
    // To open a pipe waits for whoever writes to it, and that may be nobody.
    if !fs::metadata(path)?.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a file"));
    }
    let file = fs::File::open(path)?;
    file.take(MAX_DOCUMENT_BYTES as u64 + 1)
        .read_to_end(&mut text)?;
    Ok(text)
}

impl From<BadKeys> for JwtError {
    fn from(reason: BadKeys) -> Self {
        Self::new(JwtErrorKind::Keys, reason)
    }
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.source {
            Source::Fixed(jwks) => f.debug_tuple("Keys").field(jwks).finish(),
            Source::File(path, _) => f.debug_tuple("Keys").field(path).finish(),
            Source::Url(url) => f.debug_tuple("Keys").field(url).finish(),
        }
    }
}
