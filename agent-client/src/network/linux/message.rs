//! Messages of the route socket (rtnetlink(7)): fixed heads in the byte order of the machine, then attributes.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use wakemq_protocol::MacAddr;

/// The end of an answer, or an error in place of one.
const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
const NLM_F_DUMP_INTR: u16 = 0x10;
const RTM_NEWLINK: u16 = 16;
const RTM_NEWADDR: u16 = 20;
const RTM_NEWROUTE: u16 = 24;
const RTM_NEWNEIGH: u16 = 28;

const IFLA_ADDRESS: u16 = 1;
const IFLA_IFNAME: u16 = 3;
const IFLA_MASTER: u16 = 10;
const IFLA_PERM_ADDRESS: u16 = 54;
const ARPHRD_ETHER: u16 = 1;
const IFF_UP: u32 = 0x1;
const IFF_RUNNING: u32 = 0x40;

const IFA_ADDRESS: u16 = 1;
const IFA_LOCAL: u16 = 2;
const IFA_FLAGS: u16 = 8;
const IFA_F_DADFAILED: u32 = 0x08;
const IFA_F_DEPRECATED: u32 = 0x20;
const IFA_F_TENTATIVE: u32 = 0x40;

const RTA_OIF: u16 = 4;
const RTA_GATEWAY: u16 = 5;
const RTA_PRIORITY: u16 = 6;
const RTA_TABLE: u16 = 15;
const RT_TABLE_MAIN: u32 = 254;
const RTN_UNICAST: u8 = 1;

const NDA_DST: u16 = 1;
const NDA_LLADDR: u16 = 2;
/// Reachable, stale, delay, probe and permanent: the address was true not long ago.
const NUD_VALID: u16 = 0x02 | 0x04 | 0x08 | 0x10 | 0x80;

/// What one message says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Message {
    Link(Link),
    Address(Address),
    /// A default route of the main table.
    Gateway(Gateway),
    Neighbour(Neighbour),
    /// The answer is complete.
    Done {
        /// Something changed meanwhile, so that it may contradict itself.
        interrupted: bool,
    },
    /// The kernel refused: an error number.
    Refused(i32),
    /// Nothing that matters here.
    Other,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Link {
    pub(super) index: u32,
    pub(super) name: String,
    pub(super) ethernet: bool,
    /// It is switched on, and the cable or the radio leads somewhere.
    pub(super) running: bool,
    pub(super) mac: Option<MacAddr>,
    /// What the hardware was made with.
    pub(super) permanent: Option<MacAddr>,
    /// The bridge or bond that it is a part of.
    pub(super) master: Option<u32>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Address {
    pub(super) index: u32,
    pub(super) address: IpAddr,
    pub(super) prefix_len: u8,
    pub(super) deprecated: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Gateway {
    pub(super) index: u32,
    pub(super) address: IpAddr,
    pub(super) metric: u32,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Neighbour {
    pub(super) index: u32,
    pub(super) address: IpAddr,
    pub(super) mac: MacAddr,
}

/// Splits a datagram into messages; what is cut off or of an impossible length ends it.
pub(super) fn messages(mut datagram: &[u8]) -> impl Iterator<Item = Message> {
    std::iter::from_fn(move || {
        let length = u32_at(datagram, 0)? as usize;
        let (kind, flags) = (u16_at(datagram, 4)?, u16_at(datagram, 6)?);
        let body = datagram.get(16..length)?;
        datagram = datagram.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some(match kind {
            NLMSG_DONE => Message::Done { interrupted: flags & NLM_F_DUMP_INTR != 0 },
            NLMSG_ERROR => Message::Refused(u32_at(body, 0).map_or(0, u32::cast_signed).wrapping_neg()),
            _ => read(kind, body).unwrap_or(Message::Other),
        })
    })
}

fn read(kind: u16, body: &[u8]) -> Option<Message> {
    match kind {
        RTM_NEWLINK => link(body).map(Message::Link),
        RTM_NEWADDR => address(body).map(Message::Address),
        RTM_NEWROUTE => gateway(body).map(Message::Gateway),
        RTM_NEWNEIGH => neighbour(body).map(Message::Neighbour),
        _ => None,
    }
}

fn link(body: &[u8]) -> Option<Link> {
    let attributes = body.get(16..)?;
    let name = attribute(attributes, IFLA_IFNAME)?;
    let name = name.split(|&byte| byte == 0).next()?;
    Some(Link {
        index: u32_at(body, 4)?,
        name: str::from_utf8(name).ok()?.to_owned(),
        ethernet: u16_at(body, 2)? == ARPHRD_ETHER,
        running: u32_at(body, 8)? & (IFF_UP | IFF_RUNNING) == IFF_UP | IFF_RUNNING,
        mac: attribute(attributes, IFLA_ADDRESS).and_then(mac),
        permanent: attribute(attributes, IFLA_PERM_ADDRESS).and_then(mac),
        master: attribute(attributes, IFLA_MASTER).and_then(|value| u32_at(value, 0)),
    })
}

fn address(body: &[u8]) -> Option<Address> {
    let attributes = body.get(8..)?;
    // Of a point-to-point link, IFA_ADDRESS is the other end.
    let own = attribute(attributes, IFA_LOCAL).or_else(|| attribute(attributes, IFA_ADDRESS))?;
    let flags = attribute(attributes, IFA_FLAGS).and_then(|value| u32_at(value, 0));
    let flags = flags.unwrap_or_else(|| u32::from(body[2]));
    if flags & (IFA_F_TENTATIVE | IFA_F_DADFAILED) != 0 {
        return None;
    }
    Some(Address {
        index: u32_at(body, 4)?,
        address: ip(own)?,
        prefix_len: body[1],
        deprecated: flags & IFA_F_DEPRECATED != 0,
    })
}

fn gateway(body: &[u8]) -> Option<Gateway> {
    let attributes = body.get(12..)?;
    let number = |kind| attribute(attributes, kind).and_then(|value| u32_at(value, 0));
    let (destination_len, kind) = (body[1], body[7]);
    let table = number(RTA_TABLE).unwrap_or_else(|| u32::from(body[4]));
    if destination_len != 0 || kind != RTN_UNICAST || table != RT_TABLE_MAIN {
        return None;
    }
    Some(Gateway {
        index: number(RTA_OIF)?,
        address: ip(attribute(attributes, RTA_GATEWAY)?)?,
        metric: number(RTA_PRIORITY).unwrap_or(0),
    })
}

fn neighbour(body: &[u8]) -> Option<Neighbour> {
    let attributes = body.get(12..)?;
    if u16_at(body, 8)? & NUD_VALID == 0 {
        return None;
    }
    Some(Neighbour {
        index: u32_at(body, 4)?,
        address: ip(attribute(attributes, NDA_DST)?)?,
        mac: mac(attribute(attributes, NDA_LLADDR)?)?,
    })
}

/// Returns the value of the first attribute of a kind.
fn attribute(mut attributes: &[u8], wanted: u16) -> Option<&[u8]> {
    loop {
        let length = usize::from(u16_at(attributes, 0)?);
        // The two highest bits are flags.
        let kind = u16_at(attributes, 2)? & 0x3fff;
        let value = attributes.get(4..length)?;
        if kind == wanted {
            return Some(value);
        }
        attributes = attributes.get(length.next_multiple_of(4)..)?;
    }
}

fn ip(value: &[u8]) -> Option<IpAddr> {
    let v4 = || Some(IpAddr::V4(Ipv4Addr::from(<[u8; 4]>::try_from(value).ok()?)));
    v4().or_else(|| Some(IpAddr::V6(Ipv6Addr::from(<[u8; 16]>::try_from(value).ok()?))))
}

/// Zeros and addresses of other lengths (of InfiniBand, say) are none.
fn mac(value: &[u8]) -> Option<MacAddr> {
    let mac = MacAddr::new(value.try_into().ok()?);
    mac.is_unicast().then_some(mac)
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_ne_bytes(*bytes.get(at..)?.first_chunk()?))
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(*bytes.get(at..)?.first_chunk()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attributes(list: &[(u16, &[u8])]) -> Vec<u8> {
        let mut bytes = Vec::new();
        for (kind, value) in list {
            bytes.extend(u16::try_from(4 + value.len()).unwrap().to_ne_bytes());
            bytes.extend(kind.to_ne_bytes());
            bytes.extend(*value);
            bytes.resize(bytes.len().next_multiple_of(4), 0);
        }
        bytes
    }

    fn message(kind: u16, head: &[u8], list: &[(u16, &[u8])]) -> Vec<u8> {
        let body = [head, &attributes(list)].concat();
        let mut bytes = u32::try_from(16 + body.len()).unwrap().to_ne_bytes().to_vec();
        bytes.extend(kind.to_ne_bytes());
        bytes.extend([0; 10]);
        bytes.extend(body);
        bytes.resize(bytes.len().next_multiple_of(4), 0);
        bytes
    }

    fn one(kind: u16, head: &[u8], list: &[(u16, &[u8])]) -> Message {
        messages(&message(kind, head, list)).next().unwrap()
    }

    const MAC: [u8; 6] = [0, 0x16, 0x3e, 1, 2, 3];
    const INDEX: [u8; 4] = 7u32.to_ne_bytes();

    #[test]
    fn links_tell_name_mac_and_master() {
        let mut head = vec![0, 0, 0, 0];
        head[2..4].copy_from_slice(&ARPHRD_ETHER.to_ne_bytes());
        head.extend(INDEX);
        head.extend(0x1_0043_u32.to_ne_bytes());
        head.extend([0; 4]);
        let list: &[(u16, &[u8])] =
            &[(IFLA_IFNAME, b"eno1\0"), (IFLA_ADDRESS, &MAC), (IFLA_MASTER, &9u32.to_ne_bytes())];
        let link = Link {
            index: 7,
            name: "eno1".into(),
            ethernet: true,
            running: true,
            mac: Some(MacAddr::new(MAC)),
            permanent: None,
            master: Some(9),
        };
        assert_eq!(one(RTM_NEWLINK, &head, list), Message::Link(link));
        assert_eq!(one(RTM_NEWLINK, &head, &list[1..]), Message::Other, "a link has a name");
        head[8..12].copy_from_slice(&0x1003_u32.to_ne_bytes());
        let Message::Link(unplugged) = one(RTM_NEWLINK, &head, list) else { panic!() };
        assert!(!unplugged.running);
    }

    #[test]
    fn addresses_that_are_not_certain_yet_are_left_out() {
        let own: (u16, &[u8]) = (IFA_LOCAL, &[10, 0, 0, 1]);
        let head = [&[2, 24, 0, 0][..], &INDEX].concat();
        let address = Address { index: 7, address: [10, 0, 0, 1].into(), prefix_len: 24, deprecated: false };
        let list = [(IFA_ADDRESS, &[10, 0, 0, 2][..]), own];
        assert_eq!(one(RTM_NEWADDR, &head, &list), Message::Address(address));
        for flags in [IFA_F_TENTATIVE, IFA_F_DADFAILED] {
            let list = [own, (IFA_FLAGS, &flags.to_ne_bytes())];
            assert_eq!(one(RTM_NEWADDR, &head, &list), Message::Other);
        }
    }

    #[test]
    fn default_routes_of_the_main_table_alone_are_gateways() {
        let list: [(u16, &[u8]); 3] =
            [(RTA_OIF, &INDEX), (RTA_GATEWAY, &[10, 0, 0, 254]), (RTA_PRIORITY, &100u32.to_ne_bytes())];
        let head = |dst_len, table| [2, dst_len, 0, 0, table, 0, 0, RTN_UNICAST, 0, 0, 0, 0];
        let gateway = Gateway { index: 7, address: [10, 0, 0, 254].into(), metric: 100 };
        assert_eq!(one(RTM_NEWROUTE, &head(0, 254), &list), Message::Gateway(gateway));
        assert_eq!(one(RTM_NEWROUTE, &head(8, 254), &list), Message::Other);
        assert_eq!(one(RTM_NEWROUTE, &head(0, 100), &list), Message::Other);
    }

    #[test]
    fn neighbours_that_do_not_answer_are_unknown() {
        let list: [(u16, &[u8]); 2] = [(NDA_DST, &[10, 0, 0, 254]), (NDA_LLADDR, &MAC)];
        let head = |state: u16| [&[2, 0, 0, 0][..], &INDEX, &state.to_ne_bytes(), &[0, 1]].concat();
        let neighbour = Neighbour { index: 7, address: [10, 0, 0, 254].into(), mac: MacAddr::new(MAC) };
        assert_eq!(one(RTM_NEWNEIGH, &head(0x04), &list), Message::Neighbour(neighbour));
        assert_eq!(one(RTM_NEWNEIGH, &head(0x20), &list), Message::Other);
    }

    #[test]
    fn an_answer_has_an_end_and_garbage_too() {
        let refused = [message(NLMSG_ERROR, &(-1i32).to_ne_bytes(), &[]), message(NLMSG_DONE, &[0; 4], &[])];
        let all: Vec<_> = messages(&refused.concat()).collect();
        assert_eq!(all, [Message::Refused(1), Message::Done { interrupted: false }]);
        // Cut off anywhere, and with any byte changed, it comes to an end.
        let whole = message(RTM_NEWADDR, &[2, 24, 0, 0, 7, 0, 0, 0], &[(IFA_LOCAL, &[10, 0, 0, 1])]);
        for at in 0..whole.len() {
            assert!(messages(&whole[..at]).count() <= 1);
            for value in [0, 1, 0xff] {
                let mut other = whole.clone();
                other[at] = value;
                assert!(messages(&other).count() <= whole.len());
            }
        }
    }
}
