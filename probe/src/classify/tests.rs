use super::*;

#[test]
fn sqlstates_have_the_meaning_of_the_table() {
    for (state, failure) in [
        ("57P03", FailureKind::Starting),
        ("57P01", FailureKind::Stopping),
        ("57P02", FailureKind::Stopping),
        ("57P04", FailureKind::OtherError),
        ("57014", FailureKind::OtherError),
        ("53300", FailureKind::Saturated),
        ("53000", FailureKind::ServerFailing),
        ("53100", FailureKind::ServerFailing),
        ("53200", FailureKind::ServerFailing),
        ("58000", FailureKind::ServerFailing),
        ("58030", FailureKind::ServerFailing),
        ("XX000", FailureKind::ServerFailing),
        ("XX001", FailureKind::ServerFailing),
        ("28P01", FailureKind::AuthenticationFailed),
        ("28000", FailureKind::AuthenticationFailed),
        ("3D000", FailureKind::DatabaseMissing),
        ("42501", FailureKind::OtherError),
        ("40001", FailureKind::OtherError),
        ("0A000", FailureKind::OtherError),
        ("08P01", FailureKind::UpstreamLost),
        ("08006", FailureKind::UpstreamLost),
        ("", FailureKind::OtherError),
        ("not five letters", FailureKind::OtherError),
    ] {
        assert_eq!(classify_sqlstate(&SqlState::from_code(state)), failure, "{state}");
    }
}

#[test]
fn the_same_sqlstate_in_answer_to_a_login_is_about_the_login() {
    for (state, failure) in [
        ("42501", FailureKind::ConnectNotGranted),
        ("55000", FailureKind::DatabaseClosed),
        ("08P01", FailureKind::PoolerRefused),
        ("57014", FailureKind::OtherError),
        ("28P01", FailureKind::AuthenticationFailed),
        ("53300", FailureKind::Saturated),
    ] {
        assert_eq!(classify_login(&SqlState::from_code(state)), failure, "{state}");
    }
}

#[test]
fn kinds_of_socket_errors_have_the_meaning_of_the_table() {
    for (number, failure) in [
        (111, FailureKind::ConnectRefused),
        (104, FailureKind::ConnectionReset),
        (103, FailureKind::ConnectionReset),
        (32, FailureKind::ConnectionReset),
        (110, FailureKind::TimedOut),
        (113, FailureKind::Unreachable),
        (101, FailureKind::Unreachable),
        (100, FailureKind::Unreachable),
        (99, FailureKind::OutOfResources),
        (24, FailureKind::OutOfResources),
        (23, FailureKind::OutOfResources),
        (12, FailureKind::OutOfResources),
        (105, FailureKind::OutOfResources),
        (13, FailureKind::Unreachable),
        (1, FailureKind::Unreachable),
    ] {
        let error = io::Error::from_raw_os_error(number);
        assert_eq!(classify_io(&error), failure, "{error}");
    }
    assert_eq!(
        classify_io(&io::ErrorKind::UnexpectedEof.into()),
        FailureKind::ConnectionClosed
    );
}

#[test]
fn what_an_error_wraps_comes_before_its_kind() {
    for (breach, failure) in [
        (Breach::PasswordMethod, FailureKind::PasswordMethodRefused),
        (Breach::TooLong, FailureKind::ReplyTooLong),
        (Breach::NotTheProtocol, FailureKind::ProtocolViolation),
        (Breach::Closed, FailureKind::ConnectionClosed),
    ] {
        assert_eq!(
            classify_io(&io::Error::new(
                io::ErrorKind::ConnectionReset,
                io::Error::from(breach)
            )),
            FailureKind::ConnectionReset
        );
        assert_eq!(classify_io(&breach.into()), failure);
        assert_eq!(classify_io(&io::Error::other(io::Error::from(breach))), failure);
    }
    let tls = io::Error::new(io::ErrorKind::InvalidData, TlsError::DecryptError);
    assert_eq!(classify_io(&tls), FailureKind::TlsFailed);
}
