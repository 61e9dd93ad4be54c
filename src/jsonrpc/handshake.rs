use super::{field::Field, keys::Keys, lexer::Lexer, shape::Limits, text};
use crate::protocol::ProtocolVersion;

/// What a server answered to `initialize`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Handshake {
    /// They have agreed, on that revision if it is one that is known.
    Agreed(Option<ProtocolVersion>),
    /// It was an error.
    Refused,
}

impl Handshake {
    /// What `data` says, if it is a whole response.
    pub(crate) fn read(data: &[u8]) -> Option<Self> {
        let mut lexer = Lexer::new(data, Limits::DEPTH);
        if lexer.next() != Some(b'{') {
            return None;
        }
        let (mut agreed, mut refused, mut is_call) = (None, false, false);
        let read = lexer.object(0, Keys::Message, |lexer, field| match field {
            Some(Field::Result) => {
                let mut version = None;
                if lexer.next() == Some(b'{') {
                    lexer.object(1, Keys::Params, |lexer, field| {
                        let value = lexer.skip(2)?;
                        if field == Some(Field::ProtocolVersion) {
                            version = value.of(data).and_then(text::content);
                        }
                        Ok(())
                    })?;
                } else if lexer.skip(1)?.of(data) == Some(b"null") {
                    // Some servers write both, and one of them says nothing (SE-8).
                    return Ok(());
                }
                let version = version.as_deref().and_then(ProtocolVersion::parse);
                agreed = Some(version);
                Ok(())
            }
            Some(Field::Error) => {
                refused = lexer.skip(1)?.of(data) != Some(b"null");
                Ok(())
            }
            field => {
                is_call |= field == Some(Field::Method);
                lexer.skip(1).map(drop)
            }
        });
        if read.is_err() || is_call {
            return None;
        }
        agreed
            .map(Self::Agreed)
            .or(refused.then_some(Self::Refused))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ver9_a_whole_response_tells_the_version_and_nothing_else_does() {
        let agreed = |version| Some(Handshake::Agreed(version));
        let known = Some(ProtocolVersion::V2025_06_18);
        for (text, expected) in [
            (
                r#"{"jsonrpc":"2.0","id":1,"result":{"capabilities":{"a":[{}]},"protocolVersion":"2025-06-18","serverInfo":{"protocolVersion":"x"}}}"#,
                agreed(known),
            ),
            (
                r#" {"result":{"protocolV\u0065rsion":"2025-06-18"},"error":null,"id":1}"#,
                agreed(known),
            ),
            (
                r#"{"result":{"protocolVersion":"1999-01-01"}}"#,
                agreed(None),
            ),
            (r#"{"result":{"protocolVersion":7}}"#, agreed(None)),
            (r#"{"result":{}}"#, agreed(None)),
            (r#"{"result":[]}"#, agreed(None)),
            (
                r#"{"error":{"code":1,"message":"m"}}"#,
                Some(Handshake::Refused),
            ),
            (
                r#"{"result":null,"error":{"code":1,"message":"m"}}"#,
                Some(Handshake::Refused),
            ),
            (
                r#"{"error":{"code":1,"message":"m"},"id":1,"result": null }"#,
                Some(Handshake::Refused),
            ),
            (r#"{"result":null,"error":null}"#, None),
            (r#"{"result":null}"#, None),
            (r#"{"result":{"protocolVersion":"2025-06-18"}"#, None),
            (r#"{"method":"ping","id":1}"#, None),
            (
                r#"{"method":"x","result":{"protocolVersion":"2025-06-18"}}"#,
                None,
            ),
            (r#"[{"result":{"protocolVersion":"2025-06-18"}}]"#, None),
            ("", None),
        ] {
            assert_eq!(Handshake::read(text.as_bytes()), expected, "{text}");
        }
    }
}
