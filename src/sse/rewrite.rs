use std::ops::Deref;

use bytes::{BufMut, BytesMut};
use memchr::memchr2;

use super::{
    event::{self, EventError},
    frame::RawEvent,
    line::{CR, Field, LF, next_line},
};

/// Appends `event` with its id replaced by `id`, or with `id` inserted.
pub(super) fn write_with_id(
    event: &RawEvent,
    id: &[u8],
    out: &mut BytesMut,
) -> Result<(), EventError> {
    event::check_id(id)?;
    out.reserve(event.raw().len() + overhead(id));
    put_with_id(event, id, out);
    Ok(())
}

/// By how much an event grows at most.
pub(super) fn overhead(id: &[u8]) -> usize {
    b"id: ".len() + id.len() + b"\r\n".len()
}

/// Like [`write_with_id`], for an id that is known to be legal.
#[inline]
pub(super) fn put_with_id<O>(event: &RawEvent, id: &[u8], out: &mut O)
where
    O: BufMut + Deref<Target = [u8]>,
{
    if event.fields().id_lines == 0 {
        insert(event, id, out);
    } else {
        replace(event, Some(id), out);
    }
}

#[inline]
fn insert(event: &RawEvent, id: &[u8], out: &mut impl BufMut) {
    let raw = event.raw();
    let (at, end) = match event.data_line() {
        Some(at) => (at, event.fields().data.end()),
        None => (0, memchr2(CR, LF, raw).unwrap_or_default()),
    };
    out.put_slice(&raw[..at]);
    put_id(id, out);
    out.put_slice(&raw[end..next_line(raw, end)]);
    out.put_slice(&raw[at..]);
}

/// Appends `event` without its id lines.
#[cfg(feature = "replay")]
pub(super) fn put_without_id<O>(event: &RawEvent, out: &mut O)
where
    O: BufMut + Deref<Target = [u8]>,
{
    replace(event, None, out);
}

fn replace<O>(event: &RawEvent, id: Option<&[u8]>, out: &mut O)
where
    O: BufMut + Deref<Target = [u8]>,
{
    let raw = event.raw();
    let mut copied = 0;
    let ids = event.lines().filter(|line| line.field() == Field::Id);
    // Their number is known, so the data after the last one is not scanned again.
    for (nth, line) in ids.take(event.fields().id_lines as usize).enumerate() {
        let range = line.range();
        out.put_slice(&raw[copied..range.start]);
        if let Some(id) = id.filter(|_| nth == 0) {
            put_id(id, out);
            out.put_slice(line.terminator());
        } else if out.last() == Some(&CR) && raw.get(range.end) == Some(&LF) {
            // The line that goes kept a CR and an LF apart. Together they would be one line end,
            // and the event would lose the blank line that dispatches it.
            out.put_u8(LF);
        }
        copied = range.end;
    }
    out.put_slice(&raw[copied..]);
}

fn put_id(id: &[u8], out: &mut impl BufMut) {
    out.put_slice(if id.is_empty() { b"id:" } else { b"id: " });
    out.put_slice(id);
}
