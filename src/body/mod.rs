//! The bodies that layers share.
//!
//! [`ResponseBody`] is what every layer answers with: the inner service's body, or the fixed bytes
//! of a refusal, without a box. [`RequestBody`] is what [`MessageLayer`](crate::message) hands on:
//! the bytes it collected, or the body it left alone.
//!
//! ```
//! use bytes::Bytes;
//! use http_body::Body as _;
//! use http_body_util::{BodyExt, Empty};
//! use shadowcat::body::ResponseBody;
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() {
//! let refused: ResponseBody<Empty<Bytes>> = ResponseBody::fixed("no");
//! assert_eq!(refused.size_hint().exact(), Some(2));
//! assert_eq!(refused.collect().await.unwrap().to_bytes(), "no");
//!
//! let passed = ResponseBody::inner(Empty::<Bytes>::new());
//! assert!(passed.is_end_stream());
//! # }
//! ```

mod request;
mod response;

pub use self::{
    request::RequestBody,
    response::{NoBody, ResponseBody},
};

#[cfg(test)]
mod tests;
