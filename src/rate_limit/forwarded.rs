//! Who was asked by whom, as proxies write it.

use std::{
    net::{IpAddr, SocketAddr},
    ops::ControlFlow,
};

use http::{HeaderMap, header::FORWARDED};

use super::ForwardedField;
use crate::header::X_FORWARDED_FOR;

/// Visits the addresses of a field, from the one that was added last to the first one, until the visitor
/// has seen enough. `None` is what is no address.
pub(super) fn visit_from_last(
    headers: &HeaderMap,
    field: ForwardedField,
    mut visit: impl FnMut(Option<IpAddr>) -> ControlFlow<()>,
) -> ControlFlow<()> {
    let name = match field {
        ForwardedField::XForwardedFor => X_FORWARDED_FOR,
        ForwardedField::Forwarded => FORWARDED,
    };
    // Of several fields with that name, each is behind what is written above (RFC 9110 §5.3).
    for value in headers.get_all(name).into_iter().rev() {
        // What is no text has no addresses, and is one element that nobody believes.
        let Ok(text) = value.to_str() else {
            visit(None)?;
            continue;
        };
        match field {
            ForwardedField::XForwardedFor => {
                let mut elements = text.rsplit(',');
                elements.try_for_each(|element| visit(address(element.trim())))?;
            }
            ForwardedField::Forwarded => match elements(text) {
                Some(elements) => elements.into_iter().rev().try_for_each(&mut visit)?,
                // Whoever wrote the first half of it may have meant the other half to be read otherwise.
                None => visit(None)?,
            },
        }
    }
    ControlFlow::Continue(())
}

/// The addresses of a `Forwarded` (RFC 7239 §4), each of the element that has it; `None` if it is not
/// written as that says. Blanks are allowed around its separators, where some proxies write them.
fn elements(text: &str) -> Option<Vec<Option<IpAddr>>> {
    let (mut elements, mut rest) = (Vec::new(), text);
    loop {
        let mut named = Vec::new();
        loop {
            let after = rest.trim_start_matches(BLANKS);
            rest = match pair(after) {
                Some((name, value, after)) => {
                    if name.eq_ignore_ascii_case("for") {
                        named.push(address(value));
                    }
                    after
                }
                // An element, and each of its pairs, may be empty.
                None => after,
            };
            rest = rest.trim_start_matches(BLANKS);
            match rest.strip_prefix(';') {
                Some(after) => rest = after,
                None => break,
            }
        }
        // One who is asked by two is asked by nobody in particular.
        elements.push(match named[..] {
            [address] => address,
            _ => None,
        });
        if rest.is_empty() {
            return Some(elements);
        }
        rest = rest.strip_prefix(',')?;
    }
}

const BLANKS: [char; 2] = [' ', '\t'];

/// A name, its value without quotes, and what follows.
fn pair(text: &str) -> Option<(&str, &str, &str)> {
    let (name, rest) = token(text)?;
    let rest = rest.strip_prefix('=')?;
    let Some(quoted) = rest.strip_prefix('"') else {
        let (value, rest) = token(rest)?;
        return Some((name, value, rest));
    };
    let mut is_escaped = false;
    let end = quoted.bytes().position(|byte| match byte {
        _ if is_escaped => {
            is_escaped = false;
            false
        }
        byte => {
            is_escaped = byte == b'\\';
            byte == b'"'
        }
    })?;
    // No address has anything to escape: what has is none.
    Some((name, &quoted[..end], &quoted[end + 1..]))
}

/// What RFC 9110 §5.6.2 calls so, and what follows.
fn token(text: &str) -> Option<(&str, &str)> {
    let is_token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    let end = text.bytes().position(|byte| !is_token(byte));
    let (token, rest) = text.split_at(end.unwrap_or(text.len()));
    (!token.is_empty()).then_some((token, rest))
}

/// An address with or without a port, in the one form that it has. No name, no zone, and no number with
/// a zero in front, which some read as octal.
fn address(text: &str) -> Option<IpAddr> {
    let bracketed = || text.strip_prefix('[')?.strip_suffix(']')?.parse().ok();
    let with_port = || text.parse().ok().map(|address: SocketAddr| address.ip());
    let parsed = match text.parse() {
        Ok(address) => Some(address),
        Err(_) => bracketed().map(IpAddr::V6).or_else(with_port),
    };
    let has_zone = text.contains('%');
    // Nobody has the address that stands for any.
    parsed
        .filter(|address: &IpAddr| !has_zone && !address.is_unspecified())
        .map(|address| address.to_canonical())
}
