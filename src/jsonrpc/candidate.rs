use super::{field::Field, keys::Keys, lexer::Lexer, peek_error::PeekError, shape::Limits};

/// Whether `data` has to be [peeked](super::peek) at to know that it is no response.
///
/// Reads up to the first key that tells: a `method` makes it a request or a notification, whatever
/// follows. Nothing after that is read or checked.
#[cfg(feature = "replay")]
#[inline]
pub(crate) fn may_be_response(data: &[u8]) -> bool {
    // How nearly all of them begin.
    !data.starts_with(br#"{"jsonrpc":"2.0","method":"#) && may_be_any_response(data)
}

#[cfg(feature = "replay")]
fn may_be_any_response(data: &[u8]) -> bool {
    let mut lexer = Lexer::new(data, Limits::DEPTH);
    match lexer.next() {
        Some(b'[') => return true,
        Some(b'{') => {}
        _ => return false,
    }
    let mut is_candidate = false;
    let told = lexer.object(0, Keys::Message, |lexer, field| {
        match field {
            Some(Field::Result | Field::Error) => is_candidate = true,
            Some(Field::Method) => {}
            _ => return lexer.skip(1).map(drop),
        }
        // Ends the walk.
        Err(PeekError::syntax(lexer.offset()))
    });
    told.is_err() && is_candidate
}

/// Whether `data` has to be [peeked](super::peek) at to know that nobody takes it for a response.
///
/// Unlike [`may_be_response`] it reads all keys, because a client may not look for a `method`, and says so
/// of whatever it cannot read.
#[cfg(feature = "intercept")]
pub(crate) fn may_answer(data: &[u8]) -> bool {
    let mut lexer = Lexer::new(data, Limits::DEPTH).with_ascii(data.is_ascii());
    if lexer.next() != Some(b'{') {
        return true;
    }
    let told = lexer.object(0, Keys::Message, |lexer, field| match field {
        // Ends the walk.
        Some(Field::Result | Field::Error) => Err(PeekError::syntax(lexer.offset())),
        _ => lexer.skip(1).map(drop),
    });
    told.is_err() || lexer.take_alike().is_some() || lexer.end().is_err()
}

#[cfg(all(test, feature = "intercept"))]
mod tests {
    use super::*;

    #[test]
    fn only_what_all_take_for_a_call_need_not_be_read() {
        for (data, expected) in [
            (
                r#"{"jsonrpc":"2.0","method":"x","params":{"result":1}}"#,
                false,
            ),
            (r#"{"jsonrpc":"2.0","id":1,"method":"x"} "#, false),
            ("{\"a\":\"\u{e9}\"}", false),
            ("{}", false),
            (r#"{"jsonrpc":"2.0","id":7,"result":1}"#, true),
            (r#"{"jsonrpc":"2.0","method":"x","result":1}"#, true),
            (r#"{"jsonrpc":"2.0","method":"x","\u0065rror":1}"#, true),
            (r#"{"jsonrpc":"2.0","method":"x","Result":1}"#, true),
            ("{\"method\":\"x\",\"re\u{17f}ult\":1}", true),
            (r#"{"method":"x"}{"result":1}"#, true),
            (r#"{"method":NaN,"result":1}"#, true),
            (r#"{"method":1"#, true),
            ("[]", true),
            ("\u{feff}{\"result\":1}", true),
            ("7", true),
        ] {
            assert_eq!(may_answer(data.as_bytes()), expected, "{data}");
        }
    }
}
