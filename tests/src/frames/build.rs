//! Bytes of the injected frames.

use std::net::{Ipv4Addr, Ipv6Addr};

use anyhow::{Context as _, Result};
use mesh_proto::checksum::{checksum, checksum_of};
use mesh_proto::ids::Mac;

use super::mark::{FrameKind, FrameMark};

const BROADCAST: Mac = Mac([0xff; 6]);
/// Locally administered MAC that no container has.
const NOBODY: Mac = Mac([0x0e, 0x11, 0x22, 0x33, 0x44, 0x55]);
const IPV4: u16 = 0x0800;
const ARP: u16 = 0x0806;
const IPV6: u16 = 0x86dd;
const VLAN: u16 = 0x8100;
const DNS: u16 = 53;
const MULTICAST_DNS: u16 = 5353;
/// Port of all other datagrams.
pub(super) const PORT: u16 = 4242;

/// A container, as frames name it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TestEndpoint {
    /// MAC of its interface.
    pub mac: Mac,
    /// Its address.
    pub ip: Ipv4Addr,
}

impl TestEndpoint {
    /// Parses `MAC/ADDRESS`.
    ///
    /// # Errors
    /// The text is malformed.
    pub fn parse(text: &str) -> Result<Self> {
        let parts = text
            .split_once('/')
            .with_context(|| format!("no '/': {text}"))?;
        let mac = parts
            .0
            .parse()
            .ok()
            .with_context(|| format!("no MAC: {text}"))?;
        let ip = parts.1.parse().with_context(|| text.to_owned())?;
        Ok(Self { mac, ip })
    }

    /// Returns the link-local address that the kernel derives from the MAC.
    fn link_local(&self) -> Ipv6Addr {
        let [a, b, c, d, e, f] = self.mac.0;
        let mut octets = [0; 16];
        octets[..2].copy_from_slice(&[0xfe, 0x80]);
        octets[8..].copy_from_slice(&[a ^ 2, b, c, 0xff, 0xfe, d, e, f]);
        octets.into()
    }
}

/// The endpoints that a frame names.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cast {
    /// The sender.
    pub(super) own: TestEndpoint,
    /// Another one of its network.
    pub(super) peer: TestEndpoint,
    /// One of another network.
    pub(super) foreign: TestEndpoint,
    /// One more of another network.
    pub(super) second: TestEndpoint,
}

impl Cast {
    /// Returns the frame with this mark; `tag` is the VLAN of frames that have one.
    pub(super) fn frame(&self, mark: FrameMark, tag: u16) -> Vec<u8> {
        let Self {
            own,
            peer,
            foreign,
            second,
        } = *self;
        let all = TestEndpoint {
            mac: BROADCAST,
            ip: Ipv4Addr::BROADCAST,
        };
        let text = mark.bytes();
        let between = |from, to| udp(from, to, PORT, &text);
        match mark.kind {
            FrameKind::UnicastOwn => between(own, peer),
            FrameKind::UnicastForeign => between(own, foreign),
            FrameKind::Broadcast => between(own, all),
            FrameKind::Multicast => between(own, group([239, 1, 2, 3])),
            FrameKind::VlanUnicast => tagged(&between(own, foreign), tag),
            FrameKind::VlanBroadcast => tagged(&between(own, all), tag),
            FrameKind::SpoofedForeign => between(second, foreign),
            FrameKind::SpoofedOwn => between(foreign, peer),
            FrameKind::SpoofedBroadcast => between(foreign, all),
            FrameKind::UnknownUnicast => between(
                own,
                TestEndpoint {
                    mac: NOBODY,
                    ..foreign
                },
            ),
            FrameKind::ArpRequest => arp(1, BROADCAST, own, foreign.ip, &text),
            FrameKind::ArpSpoofed => arp(1, BROADCAST, foreign, second.ip, &text),
            FrameKind::ArpAnnouncement => arp(2, BROADCAST, foreign, foreign.ip, &text),
            FrameKind::ArpUnicast => arp(1, foreign.mac, own, foreign.ip, &text),
            FrameKind::NdSolicitation => solicitation(own, foreign, &text),
            FrameKind::NdAdvertisement => advertisement(foreign, &text),
            FrameKind::DnsUnicast => udp(own, foreign, DNS, &question(&text)),
            FrameKind::DnsBroadcast => udp(own, all, DNS, &question(&text)),
            FrameKind::DnsMulticast => udp(
                own,
                group([224, 0, 0, 251]),
                MULTICAST_DNS,
                &question(&text),
            ),
            FrameKind::Dhcp => udp(own, all, 67, &discover(own.mac, &text)),
        }
    }
}

fn ethernet(to: Mac, from: Mac, ethertype: u16, parts: &[&[u8]]) -> Vec<u8> {
    let header = [&to.0[..], &from.0, &ethertype.to_be_bytes()].concat();
    let mut frame = [&header[..], &parts.concat()].concat();
    frame.resize(frame.len().max(60), 0);
    frame
}

/// Inserts a VLAN tag.
fn tagged(frame: &[u8], tag: u16) -> Vec<u8> {
    let (macs, rest) = frame.split_at(12);
    [macs, &VLAN.to_be_bytes(), &tag.to_be_bytes(), rest].concat()
}

fn udp(from: TestEndpoint, to: TestEndpoint, port: u16, payload: &[u8]) -> Vec<u8> {
    let length = |header: usize| u16::try_from(header + payload.len()).unwrap_or_default();
    let mut ip = [0; 20];
    ip[0] = 0x45;
    ip[2..4].copy_from_slice(&length(28).to_be_bytes());
    ip[8..10].copy_from_slice(&[64, 17]);
    ip[12..16].copy_from_slice(&from.ip.octets());
    ip[16..20].copy_from_slice(&to.ip.octets());
    let sum = checksum(&ip).to_be_bytes();
    ip[10..12].copy_from_slice(&sum);
    // A checksum of 0 means that there is none (RFC 768).
    let [p0, p1] = port.to_be_bytes();
    let [l0, l1] = length(8).to_be_bytes();
    let udp = [p0, p1, p0, p1, l0, l1, 0, 0];
    ethernet(to.mac, from.mac, IPV4, &[&ip, &udp, payload])
}

fn group(ip: [u8; 4]) -> TestEndpoint {
    let [_, b, c, d] = ip;
    TestEndpoint {
        mac: Mac([1, 0, 0x5e, b & 0x7f, c, d]),
        ip: ip.into(),
    }
}

/// Returns an ARP packet (operation 1: request, 2: reply), with the mark in its padding.
fn arp(operation: u8, to: Mac, sender: TestEndpoint, target: Ipv4Addr, mark: &[u8]) -> Vec<u8> {
    let body = [
        &[0, 1, 8, 0, 6, 4, 0, operation][..],
        &sender.mac.0,
        &sender.ip.octets(),
        &[0; 6],
        &target.octets(),
        mark,
    ];
    ethernet(to, sender.mac, ARP, &body)
}

fn solicitation(from: TestEndpoint, asked: TestEndpoint, mark: &[u8]) -> Vec<u8> {
    let target = asked.link_local().octets();
    let [.., x, y, z] = target;
    let to = Ipv6Addr::new(
        0xff02,
        0,
        0,
        0,
        0,
        1,
        0xff00 | u16::from(x),
        u16::from_be_bytes([y, z]),
    );
    let body = [
        &[135, 0, 0, 0, 0, 0, 0, 0][..],
        &target,
        &[1, 1],
        &from.mac.0,
        &option(mark),
    ];
    let mac = Mac([0x33, 0x33, 0xff, x, y, z]);
    icmp6(mac, from.mac, from.link_local(), to, &body.concat())
}

fn advertisement(spoofed: TestEndpoint, mark: &[u8]) -> Vec<u8> {
    let body = [
        &[136, 0, 0, 0, 0x20, 0, 0, 0][..],
        &spoofed.link_local().octets(),
        &[2, 1],
        &spoofed.mac.0,
        &option(mark),
    ];
    let to = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);
    let mac = Mac([0x33, 0x33, 0, 0, 0, 1]);
    icmp6(mac, spoofed.mac, spoofed.link_local(), to, &body.concat())
}

/// Returns an option of neighbour discovery that receivers ignore (RFC 4861, section 4.6; 253 is for experiments).
fn option(mark: &[u8]) -> [u8; 16] {
    let mut option = [0; 16];
    option[..2].copy_from_slice(&[253, 2]);
    option[2..2 + mark.len()].copy_from_slice(mark);
    option
}

fn icmp6(mac: Mac, from_mac: Mac, from: Ipv6Addr, to: Ipv6Addr, body: &[u8]) -> Vec<u8> {
    let [l0, l1] = u16::try_from(body.len()).unwrap_or_default().to_be_bytes();
    let header = [0x60, 0, 0, 0, l0, l1, 58, 255];
    let addresses = [from.octets(), to.octets()].concat();
    let sum = checksum_of(&[&addresses, &[0, 0, l0, l1, 0, 0, 0, 58], body]).to_be_bytes();
    let mut body = body.to_vec();
    body[2..4].copy_from_slice(&sum);
    ethernet(mac, from_mac, IPV6, &[&header, &addresses, &body])
}

/// Returns a question for the address of a name that begins with the mark.
fn question(mark: &[u8]) -> Vec<u8> {
    let label = u8::try_from(mark.len()).unwrap_or_default();
    let header = [0x12, 0x34, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    let name = [&[label], mark, b"\x04mesh\x05local\x00"].concat();
    [&header[..], &name, &[0, 1, 0, 1]].concat()
}

/// Returns a DHCP discover with the mark as the host name (RFC 2131; option 12).
fn discover(mac: Mac, mark: &[u8]) -> Vec<u8> {
    let mut packet = vec![0; 236];
    packet[..8].copy_from_slice(&[1, 1, 6, 0, 1, 2, 3, 4]);
    packet[28..34].copy_from_slice(&mac.0);
    let length = u8::try_from(mark.len()).unwrap_or_default();
    packet.extend([99, 130, 83, 99, 53, 1, 1, 12, length]);
    packet.extend(mark);
    packet.push(255);
    packet
}

#[cfg(test)]
mod tests {
    use super::*;

    fn endpoint(n: u8) -> TestEndpoint {
        TestEndpoint {
            mac: Mac([2, 0, 0, 0, 0, n]),
            ip: Ipv4Addr::new(10, 40, 0, n),
        }
    }

    #[test]
    fn each_frame_has_its_mark_and_valid_headers() {
        let cast = Cast {
            own: endpoint(1),
            peer: endpoint(2),
            foreign: endpoint(3),
            second: endpoint(4),
        };
        for kind in FrameKind::ALL {
            let mark = FrameMark {
                network: 1,
                host: 2,
                kind,
            };
            let frame = cast.frame(mark, 7);
            assert!((60..=400).contains(&frame.len()), "{kind:?}");
            assert_eq!(FrameMark::find(&frame), Some(mark));
            if frame[12..14] == IPV4.to_be_bytes() {
                assert_eq!(checksum(&frame[14..34]), 0, "{kind:?}");
            }
            if frame[12..14] == IPV6.to_be_bytes() {
                let length = &frame[18..20];
                let pseudo = [&[0, 0], length, &[0, 0, 0, 58]].concat();
                let end = 54 + usize::from(u16::from_be_bytes([length[0], length[1]]));
                let sum = checksum_of(&[&frame[22..54], &pseudo, &frame[54..end]]);
                assert_eq!(sum, 0, "{kind:?}");
            }
        }
        assert_eq!(
            TestEndpoint::parse("02:00:00:00:00:03/10.40.0.3").unwrap(),
            endpoint(3)
        );
        assert!(TestEndpoint::parse("02:00:00:00:00:03").is_err());
    }
}
