//! Where a port listens.
//!
//! # Guarantees
//! - A client whose system takes nothing for [`SILENT`] is disconnected, whoever waits for it. Linux alone does that; elsewhere the
//!   plugin of kubectl listens, for its own user.
//! - What waits for such a client is bounded: about [`UNSENT`] a connection.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use nix::errno::Errno;
use socket2::{Domain, Socket, Type};
use tokio::net::TcpListener;

/// Connections that wait to be accepted.
const BACKLOG: i32 = 128;

/// What was sent and is not acknowledged, or cannot be sent as the client does not read, ends the connection after that.
const SILENT: Duration = Duration::from_secs(15);

/// Bytes that the system keeps for a client; Linux doubles it for its own records.
const UNSENT: usize = 64 * 1024;

/// Listens; on `[::]` for IPv4, too, and for IPv4 alone where the node has no IPv6.
///
/// # Errors
/// What the system says against it.
pub fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let listener = listen_with(address, |address| open(address, SILENT))?;
    listener.set_nonblocking(true)?;
    TcpListener::from_std(listener)
}

fn listen_with<T>(address: SocketAddr, open: impl Fn(SocketAddr) -> io::Result<T>) -> io::Result<T> {
    let no_ipv6 = |error: &io::Error| {
        let number = error.raw_os_error().map(Errno::from_raw);
        matches!(number, Some(Errno::EAFNOSUPPORT | Errno::EADDRNOTAVAIL))
    };
    match open(address) {
        Err(error) if address.ip() == Ipv6Addr::UNSPECIFIED && no_ipv6(&error) => {
            open(SocketAddr::from((Ipv4Addr::UNSPECIFIED, address.port())))
        }
        listener => listener,
    }
}

fn open(address: SocketAddr, silent: Duration) -> io::Result<std::net::TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    socket.set_reuse_address(true)?;
    if address.is_ipv6() {
        // Whatever net.ipv6.bindv6only says.
        socket.set_only_v6(false)?;
    }
    // The connections have them from here.
    socket.set_send_buffer_size(UNSENT)?;
    #[cfg(target_os = "linux")]
    socket.set_tcp_user_timeout(Some(silent))?;
    #[cfg(not(target_os = "linux"))]
    let _ = silent;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    #[cfg(target_os = "linux")]
    use socket2::SockRef;
    #[cfg(target_os = "linux")]
    use tokio::io::AsyncWriteExt;
    use tokio::net::TcpStream;

    use super::*;

    const EVERY_V6: SocketAddr = SocketAddr::new(IpAddr::V6(Ipv6Addr::UNSPECIFIED), 0);

    #[tokio::test]
    async fn every_address_is_of_both_families() {
        let listener = listen(EVERY_V6).unwrap();
        let port = listener.local_addr().unwrap().port();
        let v4 = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await.unwrap();
        let accepted = listener.accept().await.unwrap().1;
        assert_eq!(accepted.ip().to_canonical(), Ipv4Addr::LOCALHOST);
        assert_eq!(accepted.port(), v4.local_addr().unwrap().port());
    }

    #[cfg(target_os = "linux")]
    #[tokio::test]
    async fn a_connection_has_the_limits_of_its_port() {
        let listener = listen(EVERY_V6).unwrap();
        let port = listener.local_addr().unwrap().port();
        let _near = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await.unwrap();
        let far = listener.accept().await.unwrap().0;
        let far = SockRef::from(&far);
        assert_eq!(far.tcp_user_timeout().unwrap(), Some(SILENT));
        assert!(far.send_buffer_size().unwrap() <= 2 * UNSENT);
    }

    #[cfg(target_os = "linux")]
    #[tokio::test]
    async fn a_client_that_does_not_read_is_disconnected() {
        let listener = open(EVERY_V6, Duration::from_millis(500)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let _reads_nothing = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await.unwrap();
        let (far, _) = listener.accept().unwrap();
        far.set_nonblocking(true).unwrap();
        let mut far = TcpStream::from_std(far).unwrap();
        let write = async { while far.write_all(&[0; 1024]).await.is_ok() {} };
        tokio::time::timeout(Duration::from_secs(20), write)
            .await
            .unwrap();
    }

    #[test]
    fn without_ipv6_every_address_is_one_of_ipv4() {
        let without = |address: SocketAddr| {
            if address.is_ipv6() {
                return Err(io::Error::from_raw_os_error(Errno::EAFNOSUPPORT as i32));
            }
            Ok(address)
        };
        let port = |text: &str| text.parse::<SocketAddr>().unwrap();
        assert_eq!(
            listen_with(port("[::]:8080"), without).unwrap(),
            port("0.0.0.0:8080")
        );
        assert_eq!(
            listen_with(port("127.0.0.1:8080"), without).unwrap(),
            port("127.0.0.1:8080")
        );
        // Who names an address of IPv6 wants that one.
        assert!(listen_with(port("[::1]:8080"), without).is_err());
        // What stands in the way otherwise is told.
        let taken = |_| Err::<SocketAddr, _>(io::Error::from_raw_os_error(Errno::EADDRINUSE as i32));
        assert!(listen_with(port("[::]:8080"), taken).is_err());
    }
}
