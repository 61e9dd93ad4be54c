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
            ForwardedField::Forwarded => {
                let elements: Vec<_> = split(text, b',').collect();
                let mut elements = elements.into_iter().rev();
                elements.try_for_each(|element| visit(forwarded_for(element)))?;
            }
        }
    }
    ControlFlow::Continue(())
}

/// The address of an element of `Forwarded` (RFC 7239 §4).
fn forwarded_for(element: &str) -> Option<IpAddr> {
    let mut pairs = split(element, b';').filter_map(|pair| {
        let (name, value) = pair.trim().split_once('=')?;
        name.eq_ignore_ascii_case("for").then_some(value)
    });
    let value = pairs.next()?;
    if pairs.next().is_some() {
        return None;
    }
    let quoted = value
        .strip_prefix('"')
        .and_then(|value| value.strip_suffix('"'));
    address(quoted.unwrap_or(value))
}

/// Parts with a separator between them, apart from those in quotes. What is quoted may be a client's.
fn split(text: &str, separator: u8) -> impl Iterator<Item = &str> {
    let mut rest = Some(text);
    std::iter::from_fn(move || {
        let text = rest?;
        let (mut is_quoted, mut is_escaped) = (false, false);
        let end = text.bytes().position(|byte| {
            match byte {
                _ if is_escaped => is_escaped = false,
                b'\\' if is_quoted => is_escaped = true,
                b'"' => is_quoted = !is_quoted,
                byte => return byte == separator && !is_quoted,
            }
            false
        });
        let (part, others) = match end {
            Some(end) => (&text[..end], Some(&text[end + 1..])),
            None => (text, None),
        };
        rest = others;
        Some(part)
    })
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
