use super::{field::Field, keys::Keys, lexer::Lexer, peek_error::PeekError, shape::Limits};

/// Whether `data` has to be [peeked](super::peek) at to know that it is no response.
///
/// Reads up to the first key that tells: a `method` makes it a request or a notification, whatever
/// follows. Nothing after that is read or checked.
#[inline]
pub(crate) fn may_be_response(data: &[u8]) -> bool {
    // How nearly all of them begin.
    !data.starts_with(br#"{"jsonrpc":"2.0","method":"#) && may_be_any_response(data)
}

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
