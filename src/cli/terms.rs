//! On what terms servers are spoken to: where they may be, and what a login must have.

use clap::ValueEnum;

use distributary_core::login::TlsMode;
use distributary_probe::{AddressRules, Cidr, Limits};

/// The same for the operator and for `check`.
#[derive(Debug, clap::Args)]
pub struct Terms {
    /// Addresses that may be servers, as a CIDR or an address: the operator connects to no others and publishes no others.
    /// May be given more than once, or separated by commas. Default: all.
    #[arg(
        long = "allow-cidrs",
        env = "DISTRIBUTARY_ALLOW_CIDRS",
        value_name = "CIDR",
        value_delimiter = ','
    )]
    allow_cidrs: Vec<Cidr>,
    /// Addresses that may not be servers, even if --allow-cidrs contains them. Special addresses (loopback, link-local,
    /// multicast) and the Service CIDRs of the cluster are always refused.
    #[arg(
        long = "deny-cidrs",
        env = "DISTRIBUTARY_DENY_CIDRS",
        value_name = "CIDR",
        value_delimiter = ','
    )]
    deny_cidrs: Vec<Cidr>,
    /// The least TLS that a login of the operator has, whatever a policy or URL asks for. With None, a policy can let the operator
    /// log in without TLS, or to a server whose certificate it does not verify: who stands in the way reads what is asked, and can
    /// try to guess the password from the login.
    #[arg(long, env = "DISTRIBUTARY_REQUIRE_TLS", value_enum, default_value = "None")]
    require_tls: RequiredTls,
    /// Maximum number of iterations of SCRAM that the operator does for a login, from 4096. Each 10,000 take about 4 ms of a
    /// processor, also where the server is none of yours; servers that ask for more are not checked.
    #[arg(
        long,
        env = "DISTRIBUTARY_MAX_SCRAM_ITERATIONS",
        value_name = "NUMBER",
        default_value_t = 20_000,
        value_parser = clap::value_parser!(u32).range(4096..)
    )]
    max_scram_iterations: u32,
}

impl Terms {
    pub fn addresses(&self) -> AddressRules {
        AddressRules::new(&self.allow_cidrs, &self.deny_cidrs)
    }

    /// The same limits, with these of logins.
    pub fn limits(&self, limits: Limits) -> Limits {
        Limits {
            tls: self.require_tls.mode(),
            scram_iterations: self.max_scram_iterations,
            ..limits
        }
    }
}

/// The least TLS of every login.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
#[clap(rename_all = "PascalCase")]
enum RequiredTls {
    /// What the policy asks for.
    None,
    /// A certificate that a known CA signed.
    #[clap(name = "VerifyCA")]
    VerifyCa,
    /// The same, and it names the host.
    VerifyFull,
}

impl RequiredTls {
    const fn mode(self) -> TlsMode {
        match self {
            Self::None => TlsMode::Disable,
            Self::VerifyCa => TlsMode::VerifyCa,
            Self::VerifyFull => TlsMode::VerifyFull,
        }
    }
}
