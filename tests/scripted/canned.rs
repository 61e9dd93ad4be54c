/// The bytes of a response, with how much of its body is in each prefix of them.
#[derive(Clone, Debug)]
pub(crate) struct Canned {
    bytes: Vec<u8>,
    head: usize,
    body: Vec<u8>,
    /// The bytes of the body in the first so many bytes of the response.
    decoded: Vec<usize>,
}

impl Canned {
    /// A response with `Content-Length`.
    pub(crate) fn with_length(head: &str, body: &str) -> Self {
        let mut canned = Self::head(&format!("{head}Content-Length: {}\r\n\r\n", body.len()));
        canned.data(body);
        canned
    }

    /// A response in `chunks`, with `trailers` as they are on the wire.
    pub(crate) fn chunked(head: &str, chunks: &[&str], trailers: &str) -> Self {
        let mut canned = Self::head(&format!("{head}Transfer-Encoding: chunked\r\n\r\n"));
        for chunk in chunks {
            canned.framing(&format!("{:x}\r\n", chunk.len()));
            canned.data(chunk);
            canned.framing("\r\n");
        }
        canned.framing(&format!("0\r\n{trailers}\r\n"));
        canned
    }

    fn head(head: &str) -> Self {
        Self {
            bytes: head.into(),
            head: head.len(),
            body: Vec::new(),
            decoded: vec![0; head.len() + 1],
        }
    }

    fn framing(&mut self, text: &str) {
        self.bytes.extend_from_slice(text.as_bytes());
        self.decoded.resize(self.bytes.len() + 1, self.body.len());
    }

    fn data(&mut self, text: &str) {
        for byte in text.bytes() {
            self.bytes.push(byte);
            self.body.push(byte);
            self.decoded.push(self.body.len());
        }
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    pub(crate) fn len(&self) -> usize {
        self.bytes.len()
    }

    pub(crate) fn head_len(&self) -> usize {
        self.head
    }

    pub(crate) fn body(&self) -> &[u8] {
        &self.body
    }

    /// What is in the first `cut` bytes of the response.
    pub(crate) fn body_before(&self, cut: usize) -> &[u8] {
        &self.body[..self.decoded[cut]]
    }
}
