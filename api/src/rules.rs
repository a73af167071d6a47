//! What must hold of a policy, in the words that people read.
//!
//! Admission (the CEL rules of the schema) and [`crate::validate`] (the condition `Accepted`) use the same
//! constants, so that both say the same. Each message names the field and what must hold.
//!
//! A form is a CEL rule rather than a `pattern`: the API server quotes a failed pattern, which few can read, and
//! then leaves the rules out.

use super::duration;

/// Declares the rules, and the list of all.
macro_rules! rules {
    ($(pub const $name:ident: &str = $text:expr;)*) => {
        $(pub const $name: &str = $text;)*
        /// Every rule: its name here, and its text.
        pub const ALL: &[(&str, &str)] = &[$((stringify!($name), $name)),*];
    };
}

rules! {
pub const NAME: &str = "metadata.name must be a DNS-1035 label of at most 40 characters: lower-case letters, digits and '-', beginning with a letter";
pub const PRIMARY_ID: &str = "primary.id must differ from the id of every replica; its default is 'primary'";
pub const ADDRESS: &str = "exactly one of host, serviceRef and urlSecretRef must be set";
pub const PORT_WITH_HOST: &str = "port must be set together with host only: serviceRef and the URL of urlSecretRef name a port of their own";
pub const SERVICE_NAME: &str = "name must be the name of a Service: lower-case letters, digits and '-', at most 63, with a letter or digit at both ends";
pub const OTHER_NAMESPACE: &str =
    "host must not name a Service or a pod of a namespace that is neither the policy's nor one of --allow-namespaces of the operator";
pub const OWN_SERVICE: &str = "host and serviceRef must not name a Service that the policy itself writes: name the servers behind it, or choose other names with outputs.services.namePrefix";
pub const HOST: &str = "host must not be a loopback, link-local, multicast or unspecified address, nor that of the metadata of a cloud";
pub const HOST_FORM: &str = "host must be a DNS name, an IPv4 address or an IPv6 address, without a port: that is the field port";
pub const SAME_SERVER: &str = "each host and port, and each Service and port, must be declared once: two endpoints name the same server";
pub const REGION: &str =
    "region must consist of letters, digits, '-', '_' and '.', with a letter or digit at both ends";
pub const ZONE: &str =
    "zone must consist of letters, digits, '-', '_' and '.', with a letter or digit at both ends";
pub const TAGS: &str =
    "tags must each consist of letters, digits, '-', '_' and '.', with a letter or digit at both ends";
pub const DEDICATED_TO: &str = "dedicatedTo must name at most 16 classes, each once";
pub const DEDICATED_CLASS: &str =
    "dedicatedTo must name classes of routing.classes, or the built-in classes analytics and primary-preferred";
pub const DEDICATED_TO_PRIMARY: &str =
    "dedicatedTo must not name a class whose target is Primary: no replica serves it";
pub const SECRET_NAME: &str = "name must be the name of a Secret: lower-case letters, digits, '-' and '.', with a letter or digit at both ends of each part";
pub const SECRET_KEY: &str = "key must be a key of a Secret: letters, digits, '-', '_' and '.'";
pub const ID_FORM: &str =
    "id must be a DNS-1123 label of at most 40 characters: lower-case letters, digits and '-'";
pub const ID_ONCE: &str = "replicas[].id must be set and be unique";
pub const REPLICAS: &str = "replicas must have at most 64 items";
pub const PORT: &str = "port must be between 1 and 65535";
pub const WEIGHT: &str = "weight must be between 0 and 1000";
pub const PRIORITY: &str = "priority must be between 0 and 1000";
pub const MAX_CONNECTIONS: &str = "maxConnections must be between 1 and 100000";
pub const DATABASE: &str = "connection.database must have 1 to 63 characters";
pub const CONNECT_TIMEOUT: &str = "connectTimeout must be between 1s and 5m, written as 10s or 1m30s";
pub const CA_NEEDS_VERIFY: &str =
    "tls.caSecretRef needs tls.mode VerifyCA or VerifyFull: the other modes verify no certificate";
pub const CLIENT_CERT_NEEDS_TLS: &str = "tls.clientCertSecretRef needs a tls.mode other than Disable";
pub const INTERVAL: &str =
    "healthCheck.interval must be between 100ms and 1h, written as 30s, 500ms or 1m30s";
pub const HEARTBEAT: &str =
    "healthCheck.heartbeat must be 0s (off), or between 100ms and 1h, written as 2s, 500ms or 1m30s";
pub const TIMEOUT: &str = "healthCheck.timeout must be between 20ms and 1m, written as 2s, 500ms or 1m";
pub const FAILOVER_TIMEOUT: &str =
    "healthCheck.failoverTimeout must be between 20ms and 10m, written as 5s, 500ms or 1m30s";
pub const ATTEMPT: &str =
    "healthCheck.failoverTimeout must be at least 20ms for each of circuitBreaker.failureThreshold attempts";
pub const FAILURE_THRESHOLD: &str = "circuitBreaker.failureThreshold must be between 1 and 100";
pub const RESET_TIMEOUT: &str =
    "circuitBreaker.resetTimeout must be between 100ms and 1h, written as 60s, 500ms or 1m30s";
pub const MAX_RESET_TIMEOUT: &str =
    "circuitBreaker.maxResetTimeout must be between 100ms and 24h, written as 10m, 500ms or 1m30s";
pub const RESET_TIMEOUTS: &str =
    "circuitBreaker.maxResetTimeout must be at least circuitBreaker.resetTimeout";
pub const SUCCESS_THRESHOLD: &str = "circuitBreaker.halfOpen.successThreshold must be between 1 and 100";
pub const TRAFFIC_STEPS: &str = "circuitBreaker.halfOpen.trafficSteps must be 1 to 8 percentages from 1 to 100, each above the one before";
pub const NAME_PREFIX: &str = "outputs.services.namePrefix must be a DNS-1035 label of at most 40 characters: lower-case letters, digits and '-', beginning with a letter";
pub const CONFIG_MAP_NAME: &str =
    "outputs.configMap.name must be a DNS-1123 subdomain of at most 253 characters";
pub const ENVIRONMENT_NAME: &str = "outputs.configMap.name must have at most 249 characters where formats has Env: the variables are in a ConfigMap of that name and -env";
pub const FORMATS: &str = "outputs.configMap.formats must name each format once";
pub const METADATA_COUNT: &str =
    "outputs.metadata.labels and outputs.metadata.annotations must have at most 16 keys each";
pub const METADATA_KEY: &str = "a key of outputs.metadata must be a name of at most 63 letters, digits, '-', '_' and '.', beginning and ending with a letter or digit, after an optional DNS subdomain and '/'";
pub const METADATA_RESERVED: &str = "a key of outputs.metadata must not belong to the operator or to Kubernetes: not in distributary.dev, kubernetes.io or k8s.io, except app.kubernetes.io/ other than app.kubernetes.io/managed-by";
pub const LABEL_VALUE: &str = "a value of outputs.metadata.labels must be empty, or at most 63 letters, digits, '-', '_' and '.', beginning and ending with a letter or digit";
pub const ANNOTATION_VALUE: &str = "a value of outputs.metadata.annotations must have at most 4096 bytes";
pub const LAG_MAX: &str = "replicationLag.max must be between 0s and 168h, written as 30s, 500ms or 1m30s";
pub const LAG_MAX_BYTES: &str = "replicationLag.maxBytes must be a whole number of bytes from 0 to 1Pi, written as 256Mi, 1G or '268435456'";
pub const LAG_RECOVER: &str =
    "replicationLag.recover must be between 0s and 168h, written as 15s, 500ms or 1m30s";
pub const RECOVER: &str = "replicationLag.recover must be at most replicationLag.max, whose default is 30s";
pub const LAG_QUERY: &str =
    "replicationLag.lagQuery must be one statement of 1 to 1024 characters, without ';'";
pub const LAG_QUERY_NEEDS_SOURCE: &str = "replicationLag.lagQuery needs replicationLag.source Query";
pub const LAG_QUERY_MISSING: &str = "replicationLag.source Query needs replicationLag.lagQuery";
pub const SYSTEM_IDENTIFIER: &str =
    "identity.systemIdentifier must be a number from 1 to 18446744073709551615, in quotes";
pub const IDENTIFIER_NEEDS_CHECK: &str =
    "identity.systemIdentifier needs identity.check SystemIdentifier: with None it is not compared";
pub const MIN_HEALTHY: &str =
    "failover.minHealthyReplicas must be a number from 1 to 64, or a percentage from 1% to 100%";
pub const RETRY_ATTEMPTS: &str = "routing.retryAttempts must be between 0 and 10";
pub const CLASSES: &str = "routing.classes must have at most 16 items";
pub const CLASS_NAME: &str = "name of a class must be a DNS-1123 label of at most 22 characters: lower-case letters, digits and '-'; not rw, ro or routing, and not beginning with ro-";
pub const CLASS_ONCE: &str = "routing.classes[].name must be unique";
pub const OPERATIONS: &str = "operations must be at most 64, each of letters, digits, '-', '_' and '.', with a letter or digit at both ends";
pub const OPERATION_ONCE: &str =
    "operations of two classes must not have the same name: each belongs to one class";
pub const CLASS_OF_PRIMARY: &str = "target must be other than Primary where replicaSelector, maxLag, probeQuery or readFallback is set: they choose among replicas";
pub const REPLICAS_ONLY: &str = "readFallback must not have Primary where target is ReplicasOnly";
pub const SELECTOR: &str = "replicaSelector must have one of tags or ids at least";
pub const SELECTOR_TAGS: &str = "replicaSelector.tags must each consist of letters, digits, '-', '_' and '.', with a letter or digit at both ends";
pub const SELECTOR_IDS: &str = "replicaSelector.ids must be ids of endpoints of this policy";
pub const PROBE_QUERY: &str = "probeQuery must be one statement of 1 to 1024 characters, without ';'";
pub const CLASS_MAX_LAG: &str = "maxLag must be between 0s and 168h, written as 30s, 500ms or 1m30s";
pub const REGIONS: &str = "loadBalancing.regions must have at most 16 items, those of endpoints counted where strategy is Geographic, each with a name of its own";
pub const REGION_NAME: &str = "name of a region must be a DNS-1123 label of at most 19 characters: lower-case letters, digits and '-'; its Service ends with it";
pub const REGION_FAILOVER: &str = "failover of a region must name at most 16 other regions, each once";
pub const GEOGRAPHIC: &str = "region of each endpoint must be a DNS-1123 label of at most 19 characters where loadBalancing.strategy is Geographic: a Service ends with it";
pub const READ_FALLBACK_ONCE: &str = "readFallback must name each member once";
pub const PINNED: &str = "failover.primaryRole must be Pinned where identity.check is None: a server that does not tell who it is is never followed";
pub const ACCEPT_PRIMARY: &str = "failover.acceptPrimary must be the id of an endpoint of this policy";
}

/// The rule of the form of a host, in better words where the host is a URL. Admission tells [`HOST_FORM`].
pub const HOST_URL: &str = "host must not be a URL: a URL belongs into a Secret, which urlSecretRef names";

/// The rule of the size of the ConfigMap, which is told with figures.
pub const CONFIG_MAP_SIZE: &str = "outputs.configMap must have room for every endpoint in every route; reduce formats, replicas, classes or regions, or use shorter hosts";

/// The rule that the name of the ConfigMap of variables is not too long.
pub(super) fn environment_name_fits() -> String {
    "!has(self.name) || self.name.size() <= 249 || !has(self.formats) || !self.formats.exists(f, f == 'Env')"
        .to_owned()
}

/// The rule that a duration has its form and lies between two durations, both included.
pub(super) fn duration_between(least: &str, most: &str) -> String {
    let pattern = duration::PATTERN;
    format!(
        "self.matches('{pattern}') && duration(self) >= duration('{least}') && duration(self) <= duration('{most}')"
    )
}

/// The same, or no time at all.
pub(super) fn zero_or_between(least: &str, most: &str) -> String {
    let pattern = duration::PATTERN;
    format!(
        "self.matches('{pattern}') && (duration(self) == duration('0s') || duration(self) >= duration('{least}') && duration(self) <= duration('{most}'))"
    )
}

/// The rule that one duration is at least another one, where both are set. A bad duration is refused by its own rule.
pub(super) fn at_least(less: &str, more: &str) -> String {
    format!("!has({less}) || !has({more}) || {}", in_order(less, more))
}

fn in_order(less: &str, more: &str) -> String {
    let pattern = duration::PATTERN;
    format!(
        "!{less}.matches('{pattern}') || !{more}.matches('{pattern}') || duration({less}) <= duration({more})"
    )
}

/// The rule that a number of bytes has its form and is not too large.
pub(super) fn bytes_at_most(most: &str) -> String {
    format!("self.matches('{BYTES}') && quantity(self).compareTo(quantity('{most}')) <= 0")
}

/// The rule that no two active servers have the same text of a host, or name the same Service, with the same port.
/// `name` and `port` are the fields of an endpoint with them; names of one size are what the API server can afford.
pub(super) fn distinct_servers(name: &str, port: &str) -> String {
    let optional = |of: &str, field: &str| format!("{of}.?{}", field.replace('.', ".?"));
    let same = |of: &str| {
        format!(
            "{}.orValue('') == a.{name} && {of}.?state.orValue('') != 'Disabled' && {}.orValue(5432) == {}.orValue(5432)",
            optional(of, name),
            optional(of, port),
            optional("a", port)
        )
    };
    let has = name.split('.').next().unwrap_or(name);
    format!(
        "!has(self.replicas) || self.replicas.all(a, !has(a.{has}) || a.?state.orValue('') == 'Disabled' || \
         !({}) && self.replicas.exists_one(b, {}))",
        same("self.primary"),
        same("b")
    )
}

/// The rule that the primary is behind none of the Services that lead to it: NAME-rw and NAME-ro. Those of classes and regions, and names
/// with a namespace, validation alone sees.
pub(super) fn primary_is_no_own_service() -> String {
    no_own_service(&is_not("self.spec.primary"))
}

/// The same of every replica.
pub(super) fn replicas_are_no_own_service() -> String {
    let each = is_not("r");
    no_own_service(&format!(
        "!has(self.spec.replicas) || self.spec.replicas.all(r, {each})"
    ))
}

/// That an endpoint does not have the name `own`.
fn is_not(endpoint: &str) -> String {
    format!(
        "(!has({endpoint}.host) || {endpoint}.host != own) && \
         (!has({endpoint}.serviceRef) || {endpoint}.serviceRef.name != own)"
    )
}

/// That `rule` holds for each name `own`. They are made once, not for each endpoint: that is what the API server can afford.
fn no_own_service(rule: &str) -> String {
    let (services, prefix) = (
        "self.spec.?outputs.?services",
        "self.spec.outputs.services.namePrefix",
    );
    let each = |name: &str| {
        let forms = ["-rw", "-ro", "-rw.svc", "-ro.svc"].map(|form| format!("{name} + '{form}'"));
        format!("[{}].all(own, {rule})", forms.join(", "))
    };
    format!(
        "{services}.?state.orValue('') == 'Disabled' || ({services}.?namePrefix.hasValue() ? {} : {})",
        each(prefix),
        each("self.metadata.name")
    )
}

/// The rule that acceptPrimary names an endpoint.
pub(super) fn accepted_is_declared() -> String {
    let accepted = "self.failover.acceptPrimary";
    format!(
        "!has(self.failover) || !has({accepted}) || {accepted} == self.primary.?id.orValue('primary') || \
         has(self.replicas) && self.replicas.exists(r, r.id == {accepted})"
    )
}

/// The rule that a region of an endpoint can end the name of a Service, where each has one.
pub(super) fn regions_name_services() -> String {
    let fits = |endpoint: &str| {
        format!(
            "!has({endpoint}.region) || {endpoint}.region.size() <= 19 && {endpoint}.region.matches('{DNS_1123_LABEL}')"
        )
    };
    format!(
        "self.loadBalancing.strategy != 'Geographic' || ({}) && ({})",
        fits("self.primary"),
        of_replicas(&fits("r"))
    )
}

/// The rule that a number of replicas, or a percentage of them, is within its bounds.
pub(super) fn least() -> String {
    "type(self) == int ? self >= 1 && self <= 64 : self.matches('^([1-9][0-9]?|100)%$')".to_owned()
}

/// The rule that something holds of each replica `r`.
pub(super) fn of_replicas(rule: &str) -> String {
    format!("!has(self.replicas) || self.replicas.all(r, {rule})")
}

/// The rule that the policy's own recover is not above the default of max.
pub(super) fn recover_fits_default() -> String {
    let (lag, most) = ("self.replicationLag", format!("'{LAG_MAX_DEFAULT}'"));
    let fits = in_order("self.replicationLag.recover", &most);
    format!("!has({lag}) || !has({lag}.recover) || has({lag}.max) || {fits}")
}

/// The rule that what an endpoint says of one of max and recover fits to what the policy says of the other.
pub(super) fn recover_fits(endpoint: &str) -> String {
    let (policy, own) = ("self.replicationLag", format!("{endpoint}.replicationLag"));
    let (policys_recover, policys_max) = (format!("{policy}.recover"), format!("{policy}.max"));
    let (own_recover, own_max) = (format!("{own}.recover"), format!("{own}.max"));
    let own_max_fits = in_order(&policys_recover, &own_max);
    let (fits_policys, fits_default) = (
        in_order(&own_recover, &policys_max),
        in_order(&own_recover, &format!("'{LAG_MAX_DEFAULT}'")),
    );
    format!(
        "!has({own}) || (has({own_max}) ? has({own_recover}) || !has({policy}) || !has({policys_recover}) || {own_max_fits} : \
         !has({own_recover}) || (has({policy}) && has({policys_max}) ? {fits_policys} : {fits_default}))"
    )
}

/// The rule that the policy's own query has a source that sends it; a source that does not is refused by its own rule.
pub(super) fn query_has_source() -> String {
    let lag = "self.replicationLag";
    format!("!has({lag}) || !has({lag}.lagQuery) || has({lag}.source)")
}

/// The same of an endpoint, whose source may be the policy's.
pub(super) fn own_query_has_source(endpoint: &str) -> String {
    let (policy, own) = ("self.replicationLag", format!("{endpoint}.replicationLag"));
    format!(
        "!has({own}) || !has({own}.lagQuery) || has({own}.source) || \
         has({policy}) && has({policy}.source) && {policy}.source == 'Query'"
    )
}

/// The rule that the policy's own source Query has a query.
pub(super) fn source_has_query() -> String {
    let lag = "self.replicationLag";
    format!("!has({lag}) || !has({lag}.source) || {lag}.source != 'Query' || has({lag}.lagQuery)")
}

/// The same of an endpoint, whose query may be the policy's.
pub(super) fn own_source_has_query(endpoint: &str) -> String {
    let (policy, own) = ("self.replicationLag", format!("{endpoint}.replicationLag"));
    format!(
        "!has({own}) || !has({own}.source) || {own}.source != 'Query' || has({own}.lagQuery) || \
         has({policy}) && has({policy}.lagQuery)"
    )
}

/// The rule of the spec that every attempt before the circuit opens gets its least time. A bad duration is refused
/// by its own rule.
pub(super) fn attempts_fit() -> String {
    let (timeout, pattern) = ("self.healthCheck.failoverTimeout", duration::PATTERN);
    format!(
        "!{timeout}.matches('{pattern}') || duration({timeout}).getMilliseconds() >= 20 * self.circuitBreaker.failureThreshold"
    )
}

/// The rule that a string has a form.
pub(super) fn form(pattern: &str) -> String {
    format!("self.matches('{pattern}')")
}

/// One statement: what a server would take for two is refused, also where it is quoted.
pub(super) const STATEMENT: &str = "self.trim() != '' && !self.contains(';') && !self.contains('\\u0000')";
/// A whole number of bytes, as a quantity of Kubernetes.
const BYTES: &str = "^[0-9]{1,16}(k|M|G|T|P|Ki|Mi|Gi|Ti|Pi)?$";
/// How far a replica may be behind where nothing is said.
const LAG_MAX_DEFAULT: &str = "30s";
/// A DNS-1035 label, its length left to `maxLength`.
pub(super) const DNS_1035_LABEL: &str = "^[a-z]([-a-z0-9]*[a-z0-9])?$";
/// A DNS-1123 label, its length left to `maxLength`.
pub(super) const DNS_1123_LABEL: &str = "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$";
/// A DNS-1123 subdomain, its length left to `maxLength`.
pub(super) const DNS_1123_SUBDOMAIN: &str =
    "^[a-z0-9]([-a-z0-9]*[a-z0-9])?([.][a-z0-9]([-a-z0-9]*[a-z0-9])?)*$";
/// A value as Kubernetes labels have it, its length left to `maxLength`.
pub(super) const WORD: &str = "^[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?$";
