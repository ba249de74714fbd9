//! Two subnets, a router between them, and a place for the broker behind it.

use std::fs::File;
use std::os::fd::AsFd as _;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::{Context as _, Result, ensure};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

/// A subnet: `10.77.N.0/24` and `fd77:N::/64`, whose router has the number 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Segment {
    /// Where the broker is.
    Broker = 0,
    /// Where the sleeper is.
    A = 1,
    /// The other one.
    B = 2,
}

impl Segment {
    const ALL: [Self; 3] = [Self::Broker, Self::A, Self::B];

    fn number(self) -> u8 {
        self as u8
    }

    /// Returns a host's IPv4 address.
    pub(crate) fn address(self, host: u8) -> String {
        format!("10.77.{}.{host}", self.number())
    }

    /// Returns a host's IPv6 address.
    pub(crate) fn address_v6(self, host: u8) -> String {
        format!("fd77:{}::{host}", self.number())
    }

    /// Returns a host's MAC address: one that could be of a real adapter.
    pub(crate) fn mac(self, host: u8) -> [u8; 6] {
        [0x00, 0x16, 0x3e, 0x77, self.number(), host]
    }
}

/// Writes a MAC address as text.
pub(crate) fn mac_text(mac: [u8; 6]) -> String {
    mac.map(|byte| format!("{byte:02x}")).join(":")
}

/// The namespaces of a test; gone when dropped.
#[derive(Debug)]
pub(crate) struct Network {
    prefix: String,
    hosts: Vec<String>,
    /// Where the test's thread was before.
    home: File,
}

impl Network {
    /// Makes the router, and moves the calling thread behind it: the broker and its operator are where the test is.
    pub(crate) fn new() -> Result<Self> {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let prefix = format!("wakemq-{}-{number}", std::process::id());
        let home = File::open("/proc/thread-self/ns/net").context("this needs network namespaces")?;
        let mut network = Self { prefix, hosts: Vec::new(), home };
        let router = network.namespace("router")?;
        for setting in ["ipv4/ip_forward", "ipv6/conf/all/forwarding", "ipv4/conf/all/bc_forwarding"] {
            set(&router, setting, "1")?;
        }
        for segment in Segment::ALL {
            let bridge = format!("br{}", segment.number());
            let mac = mac_text(segment.mac(1));
            ip(&["-n", &router, "link", "add", &bridge, "address", &mac, "type", "bridge"])?;
            set(&router, &format!("ipv6/conf/{bridge}/accept_dad"), "0")?;
            // What is sent to the broadcast address of a subnet from elsewhere is let through to it.
            set(&router, &format!("ipv4/conf/{bridge}/bc_forwarding"), "1")?;
            ip(&["-n", &router, "link", "set", &bridge, "up"])?;
            for address in [format!("{}/24", segment.address(1)), format!("{}/64", segment.address_v6(1))] {
                ip(&["-n", &router, "address", "add", &address, "dev", &bridge])?;
            }
        }
        let broker = network.host("broker", Segment::Broker, 2)?;
        let namespace = File::open(format!("/run/netns/{broker}"))?;
        move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network))?;
        Ok(network)
    }

    /// Makes a host with an adapter `eth0` on a subnet, and returns its namespace.
    pub(crate) fn host(&mut self, name: &str, segment: Segment, host: u8) -> Result<String> {
        let (router, namespace) = (self.name("router"), self.namespace(name)?);
        // An adapter that is not asked whether its addresses are taken has them at once.
        set(&namespace, "ipv6/conf/default/accept_dad", "0")?;
        let (port, mac) = (self.port(segment, host), mac_text(segment.mac(host)));
        let adapter = ["link", "add", "eth0", "netns", &namespace, "address", &mac];
        ip(&[&adapter[..], &["type", "veth", "peer", "name", &port, "netns", &router]].concat())?;
        let bridge = format!("br{}", segment.number());
        ip(&["-n", &router, "link", "set", &port, "master", &bridge, "up"])?;
        ip(&["-n", &namespace, "link", "set", "lo", "up"])?;
        ip(&["-n", &namespace, "link", "set", "eth0", "up"])?;
        for address in [format!("{}/24", segment.address(host)), format!("{}/64", segment.address_v6(host))] {
            ip(&["-n", &namespace, "address", "add", &address, "dev", "eth0"])?;
        }
        ip(&["-n", &namespace, "route", "add", "default", "via", &segment.address(1)])?;
        ip(&["-n", &namespace, "-6", "route", "add", "default", "via", &segment.address_v6(1)])?;
        Ok(namespace)
    }

    /// Pulls a host's cable, or plugs it in again.
    pub(crate) fn cable(&self, segment: Segment, host: u8, plugged: bool) -> Result<()> {
        let state = if plugged { "up" } else { "down" };
        ip(&["-n", &self.name("router"), "link", "set", &self.port(segment, host), state])
    }

    /// Plugs a host's cable in on another subnet, where it keeps the name of its port.
    pub(crate) fn plug(&self, segment: Segment, host: u8, into: Segment) -> Result<()> {
        let (router, port) = (self.name("router"), self.port(segment, host));
        let bridge = format!("br{}", into.number());
        ip(&["-n", &router, "link", "set", &port, "down"])?;
        ip(&["-n", &router, "link", "set", &port, "master", &bridge, "up"])
    }

    /// Lets the router carry packets up to this size alone between subnets.
    pub(crate) fn mtu(&self, bytes: u32) -> Result<()> {
        let router = self.name("router");
        Segment::ALL.iter().try_for_each(|segment| {
            let bridge = format!("br{}", segment.number());
            ip(&["-n", &router, "link", "set", &bridge, "mtu", &bytes.to_string()])
        })
    }

    /// Gives the router rules of nftables, in chains of the given hook and type `filter`.
    pub(crate) fn rules(&self, hook: &str, rules: &[&str]) -> Result<()> {
        let rules = rules.join("\n");
        let table = format!(
            "table inet middlebox-{hook} {{\nchain {hook} {{\ntype filter hook {hook} priority 0\n{rules}\n}}\n}}\n"
        );
        let script = r#"printf '%s' "$1" | nft --file -"#;
        ip(&["netns", "exec", &self.name("router"), "sh", "-c", script, "sh", &table])
            .context("on Debian: apt-get install nftables")
    }

    /// Sets what is below `/proc/sys/net` of the router.
    pub(crate) fn set(&self, name: &str, value: &str) -> Result<()> {
        set(&self.name("router"), name, value)
    }

    /// Tells whether the router remembers a flow to that port.
    pub(crate) fn remembers_flow_to(&self, port: u16) -> Result<bool> {
        let words = ["netns", "exec", &self.name("router"), "cat", "/proc/net/nf_conntrack"];
        Ok(output(&words)?.contains(&format!("dport={port} ")))
    }

    fn port(&self, segment: Segment, host: u8) -> String {
        format!("port{}-{host}", segment.number())
    }

    fn name(&self, name: &str) -> String {
        format!("{}-{name}", self.prefix)
    }

    fn namespace(&mut self, name: &str) -> Result<String> {
        let name = self.name(name);
        ip(&["netns", "add", &name])?;
        self.hosts.push(name.clone());
        Ok(name)
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        if let Err(error) = move_into_link_name_space(self.home.as_fd(), Some(LinkNameSpaceType::Network)) {
            eprintln!("the test's thread stays in its namespace: {error}");
        }
        for name in &self.hosts {
            if let Err(error) = ip(&["netns", "delete", name]) {
                eprintln!("{name} stays: {error:#}");
            }
        }
    }
}

/// Calls `ip`.
pub(crate) fn ip(words: &[&str]) -> Result<()> {
    output(words).map(drop)
}

/// Calls `ip`, and returns what it has said.
fn output(words: &[&str]) -> Result<String> {
    let done = Command::new("ip").args(words).stdin(Stdio::null()).output();
    let done = done.context("ip cannot be run; on Debian: apt-get install iproute2")?;
    let said = String::from_utf8_lossy(&done.stderr);
    ensure!(done.status.success(), "this test needs root; ip {}: {said}", words.join(" "));
    Ok(String::from_utf8(done.stdout)?)
}

/// Sets what is below `/proc/sys/net` of a namespace.
fn set(namespace: &str, name: &str, value: &str) -> Result<()> {
    let script = format!("echo {value} > /proc/sys/net/{name}");
    ip(&["netns", "exec", namespace, "sh", "-c", &script])
}
