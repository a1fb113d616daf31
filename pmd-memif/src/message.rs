//! Control messages: 128 bytes <-> types, nothing else.
//!
//! Every message is one datagram of [`SIZE`] bytes: a little-endian `u16` type, a packed body, and a tail without
//! meaning. What is decoded here is an allegation of the peer; the handshake decides what to make of it.
//!
//! ```text
//!   byte  0      2       6      8  9            33           65            128
//!   INIT  type   version id     mode secret[24] name[32]     (no meaning)
//! ```

use std::fmt;

use crate::secret::Secret;

/// Bytes of every control message.
pub const SIZE: usize = 128;

/// The one protocol version, 2.0: major in the high byte, minor in the low.
pub const VERSION: u16 = 0x0200;

/// The bytes of one message.
pub type Bytes = [u8; SIZE];

/// A text field of `N` bytes: up to `N` bytes or the first NUL, in no promised encoding.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Text<const N: usize>([u8; N]);

impl<const N: usize> Text<N> {
    /// As much of `text` as fits before a final NUL, cut at a character.
    pub fn new(text: &str) -> Self {
        let mut field = [0; N];
        let end = (0..N).rev().find(|&end| text.is_char_boundary(end)).unwrap_or(0);
        field[..end].copy_from_slice(&text.as_bytes()[..end]);
        Self::from_field(field)
    }

    /// A field as it came: bytes after the first NUL are cleared.
    fn from_field(mut field: [u8; N]) -> Self {
        let end = field.iter().position(|&byte| byte == 0).unwrap_or(N);
        field[end..].fill(0);
        Self(field)
    }

    /// The bytes before the first NUL.
    pub fn as_bytes(&self) -> &[u8] {
        let end = self.0.iter().position(|&byte| byte == 0).unwrap_or(N);
        &self.0[..end]
    }

    /// Whether there is no text.
    pub fn is_empty(&self) -> bool {
        self.as_bytes().is_empty()
    }
}

/// For people: invalid UTF-8 replaced, control characters left out, so that no peer can steer a terminal or forge a
/// line of a log.
impl<const N: usize> fmt::Display for Text<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        String::from_utf8_lossy(self.as_bytes())
            .chars()
            .filter(|c| !c.is_control())
            .try_for_each(|c| fmt::Write::write_char(f, c))
    }
}

impl<const N: usize> fmt::Debug for Text<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.to_string())
    }
}

/// Name of an application or an interface.
pub type Name = Text<32>;

/// Reason in a DISCONNECT.
pub type Reason = Text<96>;

/// Packet direction of a ring. DPDK's letters are the reverse initials: its C2S is S2M, its S2C is M2S.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Direction {
    /// From the client (slave) to the server (master).
    S2m,
    /// From the server (master) to the client (slave).
    M2s,
}

impl fmt::Display for Direction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::S2m => "S2M",
            Self::M2s => "M2S",
        })
    }
}

/// HELLO: the server's limits, sent at once after accept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hello {
    /// Application name of the server.
    pub name: Name,
    /// Oldest version it speaks.
    pub min_version: u16,
    /// Newest version it speaks.
    pub max_version: u16,
    /// Highest region index.
    pub max_region: u16,
    /// Highest M2S ring index (count - 1).
    pub max_m2s_ring: u16,
    /// Highest S2M ring index (count - 1).
    pub max_s2m_ring: u16,
    /// Largest ring size as log2 of its slots.
    pub max_log2_ring_size: u8,
}

/// INIT: which interface the client wants, and who it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Init {
    /// Version chosen; must be [`VERSION`].
    pub version: u16,
    /// Interface id on this socket.
    pub id: u32,
    /// 0 ethernet, 1 IP, 2 punt/inject.
    pub mode: u8,
    /// Secret, or 24 zero bytes.
    pub secret: Secret,
    /// Application name of the client.
    pub name: Name,
}

/// ADD_REGION: shared memory, as one attached file descriptor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AddRegion {
    /// Must equal the number of regions added before.
    pub index: u16,
    /// Bytes of the region.
    pub size: u64,
}

/// ADD_RING: a ring in a region; its eventfd is attached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AddRing {
    /// Flag bit 0.
    pub direction: Direction,
    /// Must equal the number of rings added before in this direction.
    pub index: u16,
    /// Region that holds the ring.
    pub region: u16,
    /// Offset of the ring's header in the region, in bytes.
    pub offset: u32,
    /// log2 of the number of slots.
    pub log2_ring_size: u8,
    /// Bytes of private header per descriptor; 0 in this version.
    pub private_hdr_size: u16,
}

/// One control message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Message {
    /// 1, server to client: the last message was taken, send the next.
    Ack,
    /// 2, server to client.
    Hello(Hello),
    /// 3, client to server.
    Init(Init),
    /// 4, client to server, with one memory fd.
    AddRegion(AddRegion),
    /// 5, client to server, with one eventfd.
    AddRing(AddRing),
    /// 6, client to server: all is offered; the client's interface name.
    Connect(Name),
    /// 7, server to client: the link is up; the server's interface name.
    Connected(Name),
    /// 8, both directions: the connection ends.
    Disconnect {
        /// 0 in practice.
        code: u32,
        /// Why, for people.
        reason: Reason,
    },
}

/// A message type that does not exist (0 is NONE, which nobody sends).
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("unknown message type {0}, known are 1 to 8")]
pub struct UnknownType(pub u16);

const ACK: u16 = 1;
const HELLO: u16 = 2;
const INIT: u16 = 3;
const ADD_REGION: u16 = 4;
const ADD_RING: u16 = 5;
const CONNECT: u16 = 6;
const CONNECTED: u16 = 7;
const DISCONNECT: u16 = 8;

const RING_FLAG_S2M: u16 = 1;

impl Message {
    /// A DISCONNECT with code 0.
    pub fn disconnect(reason: &str) -> Self {
        Self::Disconnect { code: 0, reason: Text::new(reason) }
    }

    /// The name of its type in the protocol.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Ack => "ACK",
            Self::Hello(_) => "HELLO",
            Self::Init(_) => "INIT",
            Self::AddRegion(_) => "ADD_REGION",
            Self::AddRing(_) => "ADD_RING",
            Self::Connect(_) => "CONNECT",
            Self::Connected(_) => "CONNECTED",
            Self::Disconnect { .. } => "DISCONNECT",
        }
    }

    /// Bytes that carry a meaning: type and body. The rest, up to [`SIZE`], has none.
    pub fn encoded_len(&self) -> usize {
        2 + match self {
            Self::Ack => 0,
            Self::Hello(_) => 43,
            Self::Init(_) => 63,
            Self::AddRegion(_) => 10,
            Self::AddRing(_) => 13,
            Self::Connect(_) | Self::Connected(_) => 32,
            Self::Disconnect { .. } => 100,
        }
    }

    /// The bytes; everything undefined is zero (statement 2).
    pub fn encode(&self) -> Bytes {
        let mut out = [0; SIZE];
        match self {
            Self::Ack => put(&mut out, 0, ACK.to_le_bytes()),
            Self::Hello(hello) => hello.encode(&mut out),
            Self::Init(init) => init.encode(&mut out),
            Self::AddRegion(region) => region.encode(&mut out),
            Self::AddRing(ring) => ring.encode(&mut out),
            Self::Connect(name) => encode_name(&mut out, CONNECT, name),
            Self::Connected(name) => encode_name(&mut out, CONNECTED, name),
            Self::Disconnect { code, reason } => {
                put(&mut out, 0, DISCONNECT.to_le_bytes());
                put(&mut out, 2, code.to_le_bytes());
                put(&mut out, 6, reason.0);
            }
        }
        out
    }

    /// The message in `bytes`; whatever its type leaves undefined is ignored.
    ///
    /// # Errors
    /// The type is none of the eight.
    pub fn decode(bytes: &Bytes) -> Result<Self, UnknownType> {
        Ok(match u16::from_le_bytes(get(bytes, 0)) {
            ACK => Self::Ack,
            HELLO => Self::Hello(Hello::decode(bytes)),
            INIT => Self::Init(Init::decode(bytes)),
            ADD_REGION => Self::AddRegion(AddRegion::decode(bytes)),
            ADD_RING => Self::AddRing(AddRing::decode(bytes)),
            CONNECT => Self::Connect(Text::from_field(get(bytes, 2))),
            CONNECTED => Self::Connected(Text::from_field(get(bytes, 2))),
            DISCONNECT => {
                Self::Disconnect { code: u32::from_le_bytes(get(bytes, 2)), reason: Text::from_field(get(bytes, 6)) }
            }
            other => return Err(UnknownType(other)),
        })
    }
}

impl Hello {
    fn encode(&self, out: &mut Bytes) {
        put(out, 0, HELLO.to_le_bytes());
        put(out, 2, self.name.0);
        put(out, 34, self.min_version.to_le_bytes());
        put(out, 36, self.max_version.to_le_bytes());
        put(out, 38, self.max_region.to_le_bytes());
        put(out, 40, self.max_m2s_ring.to_le_bytes());
        put(out, 42, self.max_s2m_ring.to_le_bytes());
        put(out, 44, [self.max_log2_ring_size]);
    }

    fn decode(bytes: &Bytes) -> Self {
        Self {
            name: Text::from_field(get(bytes, 2)),
            min_version: u16::from_le_bytes(get(bytes, 34)),
            max_version: u16::from_le_bytes(get(bytes, 36)),
            max_region: u16::from_le_bytes(get(bytes, 38)),
            max_m2s_ring: u16::from_le_bytes(get(bytes, 40)),
            max_s2m_ring: u16::from_le_bytes(get(bytes, 42)),
            max_log2_ring_size: bytes[44],
        }
    }
}

impl Init {
    fn encode(&self, out: &mut Bytes) {
        put(out, 0, INIT.to_le_bytes());
        put(out, 2, self.version.to_le_bytes());
        put(out, 4, self.id.to_le_bytes());
        put(out, 8, [self.mode]);
        put(out, 9, self.secret.field());
        put(out, 33, self.name.0);
    }

    fn decode(bytes: &Bytes) -> Self {
        Self {
            version: u16::from_le_bytes(get(bytes, 2)),
            id: u32::from_le_bytes(get(bytes, 4)),
            mode: bytes[8],
            secret: Secret::from_field(get(bytes, 9)),
            name: Text::from_field(get(bytes, 33)),
        }
    }
}

impl AddRegion {
    fn encode(self, out: &mut Bytes) {
        put(out, 0, ADD_REGION.to_le_bytes());
        put(out, 2, self.index.to_le_bytes());
        put(out, 4, self.size.to_le_bytes());
    }

    fn decode(bytes: &Bytes) -> Self {
        Self { index: u16::from_le_bytes(get(bytes, 2)), size: u64::from_le_bytes(get(bytes, 4)) }
    }
}

impl AddRing {
    fn encode(self, out: &mut Bytes) {
        let flags = if self.direction == Direction::S2m { RING_FLAG_S2M } else { 0 };
        put(out, 0, ADD_RING.to_le_bytes());
        put(out, 2, flags.to_le_bytes());
        put(out, 4, self.index.to_le_bytes());
        put(out, 6, self.region.to_le_bytes());
        put(out, 8, self.offset.to_le_bytes());
        put(out, 12, [self.log2_ring_size]);
        put(out, 13, self.private_hdr_size.to_le_bytes());
    }

    fn decode(bytes: &Bytes) -> Self {
        let flags = u16::from_le_bytes(get(bytes, 2));
        Self {
            direction: if flags & RING_FLAG_S2M != 0 { Direction::S2m } else { Direction::M2s },
            index: u16::from_le_bytes(get(bytes, 4)),
            region: u16::from_le_bytes(get(bytes, 6)),
            offset: u32::from_le_bytes(get(bytes, 8)),
            log2_ring_size: bytes[12],
            private_hdr_size: u16::from_le_bytes(get(bytes, 13)),
        }
    }
}

fn encode_name(out: &mut Bytes, kind: u16, name: &Name) {
    put(out, 0, kind.to_le_bytes());
    put(out, 2, name.0);
}

fn put<const N: usize>(out: &mut Bytes, at: usize, field: [u8; N]) {
    out[at..at + N].copy_from_slice(&field);
}

fn get<const N: usize>(bytes: &Bytes, at: usize) -> [u8; N] {
    std::array::from_fn(|i| bytes[at + i])
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn padded(head: &[u8]) -> Bytes {
        let mut bytes = [0; SIZE];
        bytes[..head.len()].copy_from_slice(head);
        bytes
    }

    fn check_golden(message: &Message, bytes: &Bytes) {
        assert_eq!(message.encode(), *bytes);
        assert_eq!(Message::decode(bytes), Ok(message.clone()));
    }

    #[test]
    fn s2_golden_bytes_of_the_handshake() {
        check_golden(&Message::Ack, &padded(&[1, 0]));
        let mut init = padded(&[3, 0, 0, 2, 5, 0, 0, 0, 0]);
        init[33..36].copy_from_slice(b"abc");
        check_golden(
            &Message::Init(Init { version: VERSION, id: 5, mode: 0, secret: Secret::NONE, name: Text::new("abc") }),
            &init,
        );
        check_golden(
            &Message::AddRegion(AddRegion { index: 0, size: 0x40_8100 }),
            &padded(&[4, 0, 0, 0, 0x00, 0x81, 0x40, 0, 0, 0, 0, 0]),
        );
        check_golden(
            &Message::AddRing(AddRing {
                direction: Direction::S2m,
                index: 0,
                region: 0,
                offset: 0,
                log2_ring_size: 10,
                private_hdr_size: 0,
            }),
            &padded(&[5, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 10, 0, 0]),
        );
    }

    #[test]
    fn every_field_of_every_message_has_its_offset() {
        let mut hello = padded(&[2, 0, b's', b'r', b'v']);
        hello[34..45].copy_from_slice(&[0x00, 0x02, 0x01, 0x02, 0xff, 0x00, 0x03, 0x01, 0x04, 0x02, 14]);
        check_golden(
            &Message::Hello(Hello {
                name: Text::new("srv"),
                min_version: 0x0200,
                max_version: 0x0201,
                max_region: 255,
                max_m2s_ring: 0x0103,
                max_s2m_ring: 0x0204,
                max_log2_ring_size: 14,
            }),
            &hello,
        );
        check_golden(
            &Message::AddRing(AddRing {
                direction: Direction::M2s,
                index: 0x0102,
                region: 0x0304,
                offset: 0x0506_0708,
                log2_ring_size: 9,
                private_hdr_size: 0x0a0b,
            }),
            &padded(&[5, 0, 0, 0, 2, 1, 4, 3, 8, 7, 6, 5, 9, 0x0b, 0x0a]),
        );
        check_golden(&Message::Connect(Text::new("c")), &padded(&[6, 0, b'c']));
        check_golden(&Message::Connected(Text::new("s")), &padded(&[7, 0, b's']));
        check_golden(&Message::disconnect("bye"), &padded(&[8, 0, 0, 0, 0, 0, b'b', b'y', b'e']));
        let mut init = padded(&[3, 0, 1, 2, 0x78, 0x56, 0x34, 0x12, 1]);
        init[9..13].copy_from_slice(b"psst");
        init[33..65].copy_from_slice(&[b'n'; 32]);
        let Ok(Message::Init(decoded)) = Message::decode(&init) else { panic!("an INIT") };
        assert_eq!((decoded.version, decoded.id, decoded.mode), (0x0201, 0x1234_5678, 1));
        assert_eq!(decoded.secret, Secret::new("psst").unwrap());
        assert_eq!(decoded.name.as_bytes(), [b'n'; 32], "a field without a NUL is read to its end");
    }

    #[test]
    fn unknown_types_are_errors() {
        for kind in [0, 9, 0x0100, 0xffff_u16] {
            assert_eq!(Message::decode(&padded(&kind.to_le_bytes())), Err(UnknownType(kind)));
        }
    }

    #[test]
    fn text_is_cut_at_a_character_before_the_final_nul() {
        let text = Text::<8>::new("abcdefé");
        assert_eq!(text.as_bytes(), b"abcdef");
        assert_eq!(Text::<8>::new("abcdefgh").to_string(), "abcdefg");
    }

    #[test]
    fn text_of_a_peer_cannot_steer_a_terminal() {
        let text = Text::<32>::from_field(*b"a\x1b[31mb\nc\x7f\xff\x00hidden............\n.");
        assert_eq!(text.to_string(), "a[31mbc\u{fffd}");
    }

    proptest! {
        #[test]
        fn any_bytes_decode_and_encode_to_the_same_message(
            kind in prop_oneof![0_u16..10, any::<u16>()],
            tail in proptest::collection::vec(any::<u8>(), SIZE - 2),
        ) {
            let mut bytes = [0; SIZE];
            bytes[..2].copy_from_slice(&kind.to_le_bytes());
            bytes[2..].copy_from_slice(&tail);
            if let Ok(message) = Message::decode(&bytes) {
                let encoded = message.encode();
                prop_assert_eq!(Message::decode(&encoded), Ok(message));
            } else {
                prop_assert!(kind == 0 || kind > 8);
            }
        }

        #[test]
        fn s2_undefined_bytes_are_zero(
            kind in 1_u16..9,
            tail in proptest::collection::vec(1_u8.., SIZE - 2),
        ) {
            let mut bytes = [0; SIZE];
            bytes[..2].copy_from_slice(&kind.to_le_bytes());
            bytes[2..].copy_from_slice(&tail);
            let message = Message::decode(&bytes).unwrap();
            prop_assert!(message.encode()[message.encoded_len()..].iter().all(|&byte| byte == 0));
        }
    }
}
