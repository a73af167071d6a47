//! Interfaces, addresses and packet filter of the node.

use std::fs;
use std::io::Write;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::{Context, Result, bail};

/// The address of the API server.
pub const API_SERVER: Ipv4Addr = Ipv4Addr::new(198, 18, 0, 1);
/// The port of the API server.
pub const API_PORT: u16 = 6443;
/// The address of the node itself: its InternalIP, and the source of what goes to a ClusterIP.
pub const NODE: Ipv4Addr = Ipv4Addr::new(198, 18, 255, 1);
/// The range of the ClusterIPs.
pub const SERVICE_RANGE: &str = "198.19.0.0/16";
/// The same for `ClusterIP`s of IPv6.
pub const API_SERVER6: Ipv6Addr = Ipv6Addr::new(0xfd00, 0x18, 1, 0, 0, 0, 0, 1);
/// The range of the ClusterIPs of IPv6.
pub const SERVICE_RANGE6: &str = "fd00:19::/112";
/// The only name server that programs of the node know. The address is the node's, so that a name that nobody
/// serves fails at once.
pub const RESOLVER: Ipv4Addr = Ipv4Addr::new(198, 18, 0, 2);

const FIRST_SERVER: u32 = 10;
static NEXT_SERVER: AtomicU32 = AtomicU32::new(FIRST_SERVER);

/// What the faults need: sets of addresses that are cut off in one way or another, connections (the server's address and
/// the client's port) that are, and the map that gives every standby an address of its own to replicate from.
const RULES: &str = "
table inet faults {
    set silent { type ipv4_addr; }
    set deaf { type ipv4_addr; }
    set resetting { type ipv4_addr; }
    set hanging_up { type ipv4_addr; }
    set severed { type ipv4_addr . inet_service; flags timeout; timeout 1m; }
    map stand_in { type ipv4_addr : ipv4_addr; }
    map upstream { type ipv4_addr : ipv4_addr; }
    chain input {
        type filter hook input priority 10; policy accept;
        ip saddr @silent drop
        ip daddr @silent drop
        ip daddr . tcp sport @severed drop
        ip saddr . tcp dport @severed drop
        ip daddr @hanging_up tcp flags & psh == psh reject with tcp reset
        ip daddr @deaf tcp flags & (syn | ack) == syn drop
        tcp flags & rst == rst accept
        ip daddr @resetting meta l4proto tcp reject with tcp reset
        ip saddr @resetting meta l4proto tcp reject with tcp reset
    }
    chain output {
        type nat hook output priority -110; policy accept;
        dnat ip to ip daddr map @stand_in
        dnat ip to ip daddr map @upstream
    }
}
";

/// The two addresses of a server: where clients reach it, and the one through which it reaches its upstream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Addresses {
    /// 198.18.x.y, on `lo`.
    pub server: Ipv4Addr,
    /// 198.18.(x + 128).y, on `lo`; packets to it go where the map `upstream` says, packets from it are this server's.
    pub upstream: Ipv4Addr,
}

/// Gives `lo` two addresses that nobody else in this node has, had or will get.
///
/// # Errors
/// When `ip` fails or 16,000 are taken.
pub fn claim_address() -> Result<Addresses> {
    let number = NEXT_SERVER.fetch_add(1, Ordering::Relaxed);
    let (third, fourth) = (number / 250, number % 250 + 1);
    let third = u8::try_from(third)
        .ok()
        .filter(|third| *third < 64)
        .context("no address is left")?;
    let fourth = u8::try_from(fourth).context("an address")?;
    let path = Addresses {
        server: Ipv4Addr::new(198, 18, third, fourth),
        upstream: Ipv4Addr::new(198, 18, third + 128, fourth),
    };
    ip(&format!(
        "address add {}/32 dev lo\naddress add {}/32 dev lo\n",
        path.server, path.upstream
    ))?;
    Ok(path)
}

/// Gives `lo` an address of IPv6, from the range for local use, that nobody else in this node has, had or will get.
///
/// # Errors
/// When `ip` fails, as it does where the kernel has no IPv6.
pub fn claim_address6() -> Result<Ipv6Addr> {
    static NEXT: AtomicU32 = AtomicU32::new(1);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let low = u16::try_from(number).context("an address")?;
    let address = Ipv6Addr::new(0xfd00, 0x18, 0, 0, 0, 0, 0, low);
    ip(&format!("address add {address}/128 dev lo nodad\n"))?;
    Ok(address)
}

/// Takes the route to an address of `lo` away, so that whoever connects is told that there is none, or gives it back.
pub(crate) fn route(address: Ipv4Addr, there: bool) -> Result<()> {
    let (local, none) = (
        format!("local {address} dev lo table local"),
        format!("unreachable {address}"),
    );
    ip(&if there {
        format!("route del {none}\nroute add {local}\n")
    } else {
        format!("route del {local}\nroute add {none}\n")
    })
}

/// Runs an nftables script; the harness's own table is `inet faults`.
///
/// # Errors
/// When nft refuses it; nothing of the script has then taken effect.
pub fn nft(script: &str) -> Result<()> {
    feed("nft", &["-f", "-"], script)
}

pub(super) fn set_up() -> Result<()> {
    ip(&format!(
        "link set lo up
         link add node0 type veth peer name node1
         address add {NODE}/30 dev node0
         link set node0 up
         link set node1 up
         route add default dev node0
         address add {API_SERVER}/32 dev lo
         address add {RESOLVER}/32 dev lo
         address add {API_SERVER6}/128 dev lo nodad
         route add {SERVICE_RANGE6} dev node0 src {API_SERVER6}
        "
    ))?;
    nft(RULES)?;
    for (name, value) in [("ip_forward", "1"), ("conf/all/route_localnet", "1")] {
        let path = format!("/proc/sys/net/ipv4/{name}");
        fs::write(&path, value).with_context(|| format!("write {path}"))?;
    }
    Ok(())
}

fn ip(script: &str) -> Result<()> {
    feed("ip", &["-batch", "-"], script)
}

fn feed(program: &str, arguments: &[&str], script: &str) -> Result<()> {
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("start {program}; is it installed?"))?;
    child
        .stdin
        .take()
        .context("its input")?
        .write_all(script.as_bytes())?;
    let output = child.wait_with_output()?;
    if !output.status.success() {
        bail!(
            "{program} refused {script:?}: {}",
            String::from_utf8_lossy(&output.stderr).trim()
        );
    }
    Ok(())
}
