//! What follows from a policy and from what its checks saw: `tests/golden/CASE/{policy,observations}.yaml` give
//! `{plan,status}.yaml`, and `objects.yaml` where the case is about objects. `UPDATE_GOLDEN=1` rewrites what follows;
//! tests/golden/README.md tells the format.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use distributary::rehearse::{Observations, rehearse};
use distributary::render::events::EventReason;
use distributary::render::status::{
    ConditionReason, ConditionStatus, ConditionType, Refusal, RefusedWrite, Report, UnresolvedReference,
    WriteOutcome, status,
};
use distributary::render::{Subject, advice, render};
use distributary_api::validate::{self, SecretKeys, Secrets};
use distributary_api::{ReplicaSetPolicy, ReplicaSetPolicyStatus, rules};
use distributary_core::Moment;
use distributary_core::cluster::{Cluster, Families};
use distributary_core::decision::{Decision, DecisionState};
use distributary_core::health::Reason;
use distributary_core::ids::ClassName;
use distributary_core::login::SecretProblem;
use distributary_core::observation::FailureKind;
use distributary_core::plan::{Member, Route, RoutingPlan};
use distributary_core::policy::Mode;
use distributary_core::table::{RoutingTable, is_intact};
use distributary_core::world::Memory;
use distributary_core::write_primary::{IdentityChange, Obstacle};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use serde::Deserialize;
use serde_json::{Value, json};
use strum::VariantArray;

/// The file `observations.yaml` of a case; tests/golden/README.md tells the words.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct CaseInput {
    #[serde(default)]
    checks: BTreeMap<String, Vec<String>>,
    #[serde(default)]
    addresses: BTreeMap<String, IpAddr>,
    #[serde(default)]
    secrets: BTreeMap<String, BTreeMap<String, String>>,
    #[serde(default)]
    services: BTreeMap<String, Vec<SocketAddr>>,
    /// The region of the cluster.
    #[serde(default)]
    region: Option<String>,
    /// By the name of its route: the address families of a Service; that of one that is not here carries any address.
    #[serde(default)]
    families: BTreeMap<String, Vec<String>>,
    /// Where the writes did not go as decided: NameConflict, ForeignEndpoints, ForeignOperator, AwaitingProof or Refused (with names).
    #[serde(default)]
    written: BTreeMap<String, Vec<String>>,
}

impl CaseInput {
    fn observations(&self) -> Observations {
        Observations {
            checks: self.checks.clone(),
            addresses: self.addresses.clone(),
            services: self.services.clone(),
            ..Observations::default()
        }
    }
}

impl CaseInput {
    fn families(&self) -> BTreeMap<String, Families> {
        let of = |words: &[String]| {
            let has = |family: &str| words.iter().any(|word| word == family);
            Families::new(has("IPv4"), has("IPv6"))
        };
        let services = self.families.iter();
        services
            .map(|(route, words)| (route.clone(), of(words)))
            .collect()
    }
}

/// All that follows from a case.
struct Outcome {
    plan: Value,
    objects: Vec<Value>,
    status: ReplicaSetPolicyStatus,
}

fn outcome(folder: &Path) -> Outcome {
    let object: ReplicaSetPolicy = read(&folder.join("policy.yaml"));
    let input: CaseInput = read(&folder.join("observations.yaml"));
    let secrets = secrets(&object, &input);
    let services = input
        .observations()
        .services(validate::service_references(&object, &secrets));
    let cluster = Cluster {
        region: input.region.clone(),
        families: input.families(),
        ..Cluster::default()
    };
    let validated = validate::policy(&object)
        .map(|valid| valid.with(validate::resolve(&object, &secrets, &services), cluster));
    let (declared, problems) = match validated {
        Ok(declared) => (Some(declared), Vec::new()),
        Err(problems) => (None, problems.iter().map(ToString::to_string).collect()),
    };
    let unresolved = declared.as_ref().map(|declared| declared.resolved.problems());
    let unresolved = unresolved.unwrap_or_default().into_iter().cloned();
    let unresolved: Vec<_> = unresolved.map(UnresolvedReference::Secret).collect();
    let outputs = declared.as_ref().map(|declared| Arc::clone(&declared.outputs));
    let (decision, moment) = declared.map_or((None, Moment::default()), |declared| {
        let known = (&declared.policy, &declared.resolved);
        let rehearsed = rehearse(known, &input.observations(), Memory::default(), &BTreeSet::new());
        let rehearsed = rehearsed.unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
        (Some(rehearsed.decision), rehearsed.moment)
    });
    let manifests = decision
        .as_deref()
        .filter(|decision| decision.policy.mode == Mode::Enforce)
        .zip(outputs.as_deref())
        .and_then(|(decision, outputs)| Subject::of(decision, outputs))
        .map(|subject| render(&subject));
    let report = Report {
        generation: object.metadata.generation.unwrap_or_default(),
        problems: &problems,
        unresolved: &unresolved,
        decision: decision.as_deref(),
        outputs: outputs.as_deref(),
        written: written(decision.as_deref(), &input),
        remembered: true,
        signed: true,
        revision: manifests.as_ref().map(|manifests| manifests.revision.as_str()),
        moment,
    };
    let now = Time("2026-01-01T00:00:00Z".parse().expect("a time"));
    Outcome {
        plan: plan_of(decision.as_deref()),
        status: status(&report, &ReplicaSetPolicyStatus::default(), &now),
        objects: manifests
            .map(|manifests| manifests.objects.into_iter().map(|object| object.body).collect())
            .unwrap_or_default(),
    }
}

fn secrets(object: &ReplicaSetPolicy, input: &CaseInput) -> Secrets {
    let keys = |keys: &BTreeMap<String, String>| {
        let keys = keys
            .iter()
            .map(|(key, value)| (key.clone(), value.clone().into_bytes()));
        SecretKeys(keys.collect())
    };
    validate::references(&object.spec)
        .into_iter()
        .map(|name| {
            let secret = input.secrets.get(&name).map(keys).ok_or(SecretProblem::NotFound);
            (name, secret)
        })
        .collect()
}

/// As the writing side concludes it, where the case says nothing else.
fn written(decision: Option<&Decision>, input: &CaseInput) -> WriteOutcome {
    if let Some((what, names)) = input.written.first_key_value() {
        return match what.as_str() {
            "NameConflict" => WriteOutcome::NameConflict(names.clone()),
            "ForeignEndpoints" => WriteOutcome::ForeignEndpoints(names.clone()),
            "ForeignOperator" => WriteOutcome::ForeignOperator(names.clone()),
            "AwaitingProof" => {
                let servers = names
                    .iter()
                    .map(|name| name.parse().expect("an address and a port"));
                WriteOutcome::AwaitingProof(servers.collect())
            }
            "Refused" => WriteOutcome::Refused(names.iter().map(|name| refused(name)).collect()),
            other => panic!("{other} is no outcome of a write"),
        };
    }
    match decision.map(|decision| (&decision.state, decision.policy.mode)) {
        Some((DecisionState::Suspended, _)) => WriteOutcome::Suspended,
        Some((_, Mode::Observe)) => WriteOutcome::Observing,
        Some((DecisionState::Decided(_), _)) => WriteOutcome::Programmed,
        Some((DecisionState::Waiting { .. }, _)) | None => WriteOutcome::Waiting,
    }
}

/// A write of an object that the API server refused.
fn refused(object: &str) -> RefusedWrite {
    RefusedWrite {
        object: object.to_owned(),
        verb: "create",
        refusal: Refusal::new("Forbidden", "exceeded quota: shop"),
    }
}

/// The routes that were decided, and who takes the writes. What follows from it in the objects is a matter of rendering.
fn plan_of(decision: Option<&Decision>) -> Value {
    let Some(decision) = decision else {
        return json!("none: the policy is invalid");
    };
    match &decision.state {
        DecisionState::Waiting { unchecked } => json!({"waiting": {"unchecked": unchecked}}),
        DecisionState::Suspended => json!("suspended"),
        DecisionState::Decided(decided) => {
            let RoutingPlan {
                rw,
                ro,
                classes,
                regions,
            } = &decided.plan;
            let holder = decided.holding.holder.as_ref().map(ToString::to_string);
            let mut plan = json!({"writes": holder, "rw": route(rw), "ro": route(ro)});
            // Other classes that are built in follow from rw and ro.
            let own = |name: &ClassName| {
                let class = decision.policy.routing.class(name);
                class.is_some_and(|class| decision.policy.has_own_route(class))
            };
            for (name, table) in classes.iter().filter(|(name, _)| own(name)) {
                plan["classes"][name.as_str()] = route(table);
            }
            for (name, table) in regions {
                plan["regions"][name] = route(table);
            }
            if let Some(IdentityChange { known, shown, .. }) = decided.changed {
                plan["identityChanged"] = json!({"known": known, "shown": shown});
            }
            plan
        }
    }
}

fn route(route: &Route) -> Value {
    let member = |member: &Member| {
        json!({
            "endpoint": member.target.to_string(),
            "address": member.address,
            "port": member.port,
            "weight": member.weight,
            "order": member.order,
            "inSlice": member.in_slice,
            "admission": member.admission,
        })
    };
    json!({
        "state": route.state,
        "members": route.members.iter().map(member).collect::<Vec<_>>(),
    })
}

fn read<T: serde::de::DeserializeOwned>(file: &Path) -> T {
    let text = std::fs::read_to_string(file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    serde_yaml::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", file.display()))
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden")
}

fn cases() -> Vec<PathBuf> {
    let entries = std::fs::read_dir(root()).expect("tests/golden");
    let mut folders: Vec<_> = entries
        .filter_map(|entry| entry.ok().map(|entry| entry.path()))
        .filter(|path| path.is_dir())
        .collect();
    folders.sort();
    folders
}

fn yaml(value: &impl serde::Serialize) -> String {
    serde_yaml::to_string(value).expect("JSON is YAML")
}

/// What a policy.yaml says of its case: its first line a sentence for docs/examples.md, its second line, where the case is
/// about objects, what of them.
fn is_about_objects(folder: &Path) -> bool {
    const OBJECTS: &str = "# Objects: ";
    let file = folder.join("policy.yaml");
    let text = std::fs::read_to_string(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    let mut lines = text.lines();
    let mut sentence = |prefix: &str| {
        let line = lines.next().unwrap_or_default();
        line.starts_with(prefix) && line.len() > prefix.len() + 1 && line.ends_with('.')
    };
    let said = sentence("# ") && !text.starts_with(OBJECTS);
    assert!(said, "{} begins with a sentence of its case", file.display());
    let about = sentence(OBJECTS);
    let mentioned = text.contains(OBJECTS);
    assert_eq!(
        about,
        mentioned,
        "{} says what of objects in its second line",
        file.display()
    );
    about
}

#[test]
fn every_case_gives_what_its_files_say() {
    let update = std::env::var_os("UPDATE_GOLDEN").is_some_and(|value| value == "1");
    let mut differences = Vec::new();
    let cases = cases();
    assert!(cases.len() >= 20, "{} cases", cases.len());
    for folder in cases {
        let outcome = outcome(&folder);
        let mut files = vec![
            ("plan.yaml", yaml(&outcome.plan)),
            ("status.yaml", yaml(&outcome.status)),
        ];
        if is_about_objects(&folder) {
            let objects: Vec<_> = outcome.objects.iter().map(yaml).collect();
            files.push(("objects.yaml", objects.join("---\n")));
        }
        for (name, text) in &files {
            let file = folder.join(name);
            if update {
                std::fs::write(&file, text).expect("writes");
            }
            match std::fs::read_to_string(&file) {
                Ok(expected) if expected == *text => {}
                Ok(expected) => differences.push(difference(&file, &expected, text)),
                Err(error) => differences.push(format!("{}: {error}", file.display())),
            }
        }
        let known = ["policy.yaml", "observations.yaml"].into_iter();
        let known: BTreeSet<_> = known.chain(files.iter().map(|(name, _)| *name)).collect();
        for name in names(&folder) {
            if !known.contains(name.as_str()) {
                differences.push(format!("{}: nothing makes it", folder.join(name).display()));
            }
        }
    }
    let said = differences.join("\n");
    assert!(differences.is_empty(), "\n{said}\nUPDATE_GOLDEN=1 rewrites them");
}

/// Words and sentences that people read, and scripts match. The messages of conditions are as the cases show them.
#[test]
fn the_words_that_people_read_change_on_purpose() {
    let (file, text) = (root().join("words.yaml"), yaml(&words()));
    if std::env::var_os("UPDATE_GOLDEN").is_some_and(|value| value == "1") {
        std::fs::write(&file, &text).expect("writes");
    }
    let expected = std::fs::read_to_string(&file).expect("the table of words");
    let said = difference(&file, &expected, &text);
    assert!(expected == text, "{said}\nUPDATE_GOLDEN=1 rewrites it");
}

fn words() -> Value {
    let reasons = Reason::ALL.iter().map(|reason| {
        let advice = advice::of(*reason);
        (
            reason.to_string(),
            json!({"means": advice.means, "next": advice.next}),
        )
    });
    let failures = FailureKind::ALL.iter().copied();
    let failures = failures.map(|kind| (kind.to_string(), json!(advice::of_failure(kind))));
    let obstacles = Obstacle::ALL.iter().copied();
    let obstacles =
        obstacles.map(|obstacle| (obstacle.word().to_owned(), json!(advice::of_obstacle(obstacle))));
    let rules = rules::ALL
        .iter()
        .map(|(name, rule)| ((*name).to_owned(), json!(rule)));
    let events = EventReason::VARIANTS.iter().map(EventReason::into_str);
    let mut messages: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for Condition {
        type_,
        status,
        reason,
        message,
        ..
    } in conditions()
    {
        let of_one = messages.entry(format!("{type_} {status} {reason}")).or_default();
        of_one.insert(message);
    }
    json!({
        "reasonsOfEndpoints": reasons.collect::<BTreeMap<_, _>>(),
        "failures": failures.collect::<BTreeMap<_, _>>(),
        "obstacles": obstacles.collect::<BTreeMap<_, _>>(),
        "rules": rules.collect::<BTreeMap<_, _>>(),
        "events": events.collect::<BTreeSet<_>>(),
        "conditions": messages,
    })
}

fn names(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).expect("a case");
    let names = entries.map(|entry| entry.expect("a file").file_name());
    names.map(|name| name.to_string_lossy().into_owned()).collect()
}

/// The first line that differs.
fn difference(file: &Path, expected: &str, text: &str) -> String {
    let mut lines = expected.lines().zip(text.lines()).zip(1..);
    let first = lines.find(|((expected, found), _)| expected != found);
    let what = first.map_or_else(
        || "one has more lines".to_owned(),
        |((expected, found), line)| format!("line {line}\n  expected {expected}\n  found    {found}"),
    );
    format!("{}: {what}", file.display())
}

fn conditions() -> Vec<Condition> {
    let statuses = cases().into_iter().map(|folder| outcome(&folder).status);
    statuses.flat_map(|status| status.conditions).collect()
}

#[test]
fn every_condition_is_true_in_a_case_and_false_in_another() {
    let seen = conditions();
    for type_ in ConditionType::VARIANTS.iter().map(ConditionType::into_str) {
        for wanted in [ConditionStatus::True, ConditionStatus::False].map(|status| status.into_str()) {
            let shown = seen
                .iter()
                .any(|condition| condition.type_ == type_ && condition.status == wanted);
            assert!(shown, "no case shows {type_} {wanted}");
        }
    }
}

/// Every word is in a case, but for the exceptions, which must be in none: one that is shown needs no exception.
fn must_be_shown(
    words: impl IntoIterator<Item = &'static str>,
    shown: &BTreeSet<String>,
    exceptions: &[(&str, &str)],
) {
    for word in words {
        let exception = exceptions.iter().find(|(name, _)| *name == word);
        match exception {
            None => assert!(shown.contains(word), "no case shows {word}"),
            Some((_, why)) => assert!(!shown.contains(word), "a case shows {word} ({why})"),
        }
    }
}

#[test]
fn every_reason_of_an_endpoint_has_a_case() {
    let servers = cases()
        .into_iter()
        .flat_map(|folder| outcome(&folder).status.endpoints)
        .map(|endpoint| endpoint.server);
    let shown = servers
        .flat_map(|server| {
            let of_classes = server.classes.into_iter().map(|class| class.reason);
            of_classes.chain([server.reason]).collect::<Vec<_>>()
        })
        .collect();
    let reasons = Reason::ALL.iter().map(|reason| reason.word());
    let waits = "the first decision waits until every server has been checked";
    must_be_shown(reasons, &shown, &[(Reason::NotCheckedYet.word(), waits)]);
}

#[test]
fn every_reason_of_the_conditions_has_a_case() {
    let shown = conditions()
        .into_iter()
        .map(|condition| condition.reason)
        .collect();
    let reasons = ConditionReason::VARIANTS.iter().map(ConditionReason::into_str);
    let exceptions = [
        (ConditionReason::NotDeclared, "a case has no earlier policy"),
        (ConditionReason::ServiceUnresolved, "a case reads no API server"),
        (
            ConditionReason::ConnectionLimit,
            "a story tells no limit of a role",
        ),
        (
            ConditionReason::TooLarge,
            "a case would be as large as a ConfigMap",
        ),
    ];
    let exceptions = exceptions.map(|(reason, why)| (reason.into_str(), why));
    must_be_shown(reasons, &shown, &exceptions);
}

#[test]
fn a_condition_of_several_statuses_has_a_case_of_each() {
    use ConditionReason as Reason;
    use ConditionStatus::{False, True, Unknown};
    let seen = conditions();
    for (type_, status, reason) in [
        (ConditionType::Programmed, False, Reason::Waiting),
        (ConditionType::Programmed, False, Reason::Observing),
        (ConditionType::Programmed, False, Reason::Suspended),
        (ConditionType::Programmed, False, Reason::NameConflict),
        (ConditionType::Programmed, False, Reason::ForeignEndpoints),
        (ConditionType::Programmed, False, Reason::ForeignOperator),
        (ConditionType::Ready, False, Reason::Waiting),
        (ConditionType::Ready, False, Reason::Invalid),
        (ConditionType::Ready, False, Reason::Observing),
        (ConditionType::Ready, False, Reason::IdentityChanged),
        (ConditionType::Ready, Unknown, Reason::Suspended),
        (ConditionType::Reconciling, True, Reason::Waiting),
        (ConditionType::Stalled, True, Reason::Invalid),
        (ConditionType::Stalled, True, Reason::NameConflict),
        (ConditionType::Stalled, True, Reason::ForeignEndpoints),
        (ConditionType::Stalled, True, Reason::ForeignOperator),
        (ConditionType::Stalled, True, Reason::IdentityChanged),
        (ConditionType::PrimaryReachable, False, Reason::IdentityChanged),
    ] {
        let (type_, status, reason) = (type_.into_str(), status.into_str(), reason.into_str());
        let is_shown = seen
            .iter()
            .any(|it| it.type_ == type_ && it.status == status && it.reason == reason);
        assert!(is_shown, "no case shows {type_} {status} {reason}");
    }
}

#[test]
fn a_message_has_the_name_of_the_service_and_no_placeholder() {
    let messages: Vec<_> = conditions()
        .into_iter()
        .map(|condition| condition.message)
        .collect();
    assert!(messages.iter().any(|message| message.contains("orders-rw")));
    for message in messages {
        assert!(!message.contains("NAME"), "{message}");
    }
}

fn published() -> Value {
    read(&Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/schemas/routing.v1.json"))
}

fn validator(schema: &Value) -> jsonschema::Validator {
    jsonschema::options()
        .should_validate_formats(true)
        .build(schema)
        .expect("a JSON Schema")
}

/// The published schema, which lets a reader pass over fields that it does not know.
fn schema() -> jsonschema::Validator {
    validator(&published())
}

/// The same without any other field: what is written is described.
fn closed_schema() -> jsonschema::Validator {
    fn close(schema: &mut Value) {
        if schema["properties"].is_object() && schema["type"] == "object" {
            let fields = schema.as_object_mut().expect("an object");
            fields.entry("additionalProperties").or_insert(json!(false));
        }
        match schema {
            Value::Object(fields) => fields.values_mut().for_each(close),
            Value::Array(items) => items.iter_mut().for_each(close),
            _ => {}
        }
    }
    let mut schema = published();
    close(&mut schema);
    validator(&schema)
}

/// The routing.json of a case, as it is written.
fn routing_text(folder: &Path) -> Option<String> {
    let objects = outcome(folder).objects;
    let map = objects.iter().find(|object| object["kind"] == "ConfigMap")?;
    let text = map["data"]["routing.json"].as_str().expect("routing.json");
    Some(text.to_owned())
}

fn routing(folder: &Path) -> Option<Value> {
    let text = routing_text(folder)?;
    Some(serde_json::from_str(&text).expect("routing.json is JSON"))
}

#[test]
fn every_routing_json_is_read_back_as_it_was_written() {
    let mut checked = 0;
    for folder in cases() {
        if let Some(text) = routing_text(&folder) {
            let table = RoutingTable::read(&text).unwrap_or_else(|error| panic!("{text}: {error}"));
            assert_eq!(table.text(), text, "{}", folder.display());
            assert_eq!(table.digest(), table.revision, "{}", folder.display());
            assert!(is_intact(&text), "{}", folder.display());
            checked += 1;
        }
    }
    assert!(checked >= 10, "{checked} documents");
}

#[test]
fn every_routing_json_matches_its_schema_and_has_no_field_that_it_does_not_describe() {
    let schema = closed_schema();
    let mut checked = 0;
    for folder in cases() {
        if let Some(document) = routing(&folder) {
            let errors: Vec<_> = schema
                .iter_errors(&document)
                .map(|error| error.to_string())
                .collect();
            assert!(errors.is_empty(), "{}: {errors:#?}", folder.display());
            checked += 1;
        }
    }
    assert!(checked >= 10, "{checked} documents");
}

/// Every object of a document, as a JSON pointer.
fn objects(value: &Value, at: &str, found: &mut Vec<String>) {
    match value {
        Value::Object(fields) => {
            found.push(at.to_owned());
            for (key, value) in fields {
                objects(value, &format!("{at}/{key}"), found);
            }
        }
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                objects(item, &format!("{at}/{index}"), found);
            }
        }
        _ => {}
    }
}

#[test]
fn the_schema_passes_over_an_unknown_field_and_refuses_a_missing_one_at_every_level() {
    const OPTIONAL: [&str; 6] = ["service", "displayName", "host", "port", "region", "zone"];
    let (schema, closed) = (schema(), closed_schema());
    let document = routing(&root().join("zone")).expect("the case has routes");
    let mut pointers = Vec::new();
    objects(&document, "", &mut pointers);
    assert!(pointers.len() > 8, "{pointers:?}");
    for pointer in pointers {
        let edited = |edit: &dyn Fn(&mut Value)| {
            let mut document = document.clone();
            edit(document.pointer_mut(&pointer).expect("it is there"));
            document
        };
        let surprise = edited(&|object| object["surprise"] = json!(1));
        // A route of any name has the form of a route.
        assert_eq!(
            schema.is_valid(&surprise),
            pointer != "/routes",
            "unknown field at '{pointer}'"
        );
        assert!(!closed.is_valid(&surprise), "undescribed field at '{pointer}'");
        let fields = document.pointer(&pointer).and_then(Value::as_object);
        for key in fields.into_iter().flat_map(|fields| fields.keys()) {
            let missing = edited(&|object| {
                object.as_object_mut().expect("an object").remove(key);
            });
            let missing = schema.is_valid(&missing);
            let by_choice =
                OPTIONAL.contains(&key.as_str()) && (pointer.contains("endpoints/") || key == "service");
            // Which routes there are beside two, and which priorities, is the policy's word.
            let named = pointer == "/priorities" || pointer == "/routes" && key != "rw" && key != "ro";
            let optional = by_choice || named;
            assert_eq!(missing, optional, "without {key} at '{pointer}'");
        }
    }
}

#[test]
fn the_schema_refuses_another_version() {
    let mut document = routing(&root().join("zone")).expect("the case has routes");
    document["version"] = json!("routing.distributary.dev/v2");
    assert!(!schema().is_valid(&document));
}

/// What a reader of routing.json may rely on: of each place of the schema its type, its words, and whether it is always
/// there.
fn promises(schema: &Value, at: &str, always: bool, found: &mut Vec<String>) {
    let presence = if always { "always" } else { "maybe" };
    let kind = schema["$ref"].as_str().or(schema["type"].as_str());
    let words = schema["enum"].as_array().map(|words| {
        let words: Vec<_> = words.iter().map(ToString::to_string).collect();
        words.join(" ")
    });
    let constant = schema.get("const").map(ToString::to_string);
    let what = kind
        .map(ToOwned::to_owned)
        .or(words)
        .or(constant)
        .unwrap_or_default();
    found.push(format!("{at} {presence} {what}").trim_end().to_owned());
    let required = schema["required"].as_array().cloned().unwrap_or_default();
    for (name, field) in schema["properties"].as_object().into_iter().flatten() {
        let always = required.contains(&json!(name));
        promises(field, &format!("{at}.{name}"), always, found);
    }
    if schema["items"].is_object() {
        promises(&schema["items"], &format!("{at}[]"), true, found);
    }
    for part in schema["allOf"].as_array().into_iter().flatten() {
        promises(part, &format!("{at}&"), true, found);
    }
    if schema["additionalProperties"].is_object() {
        promises(&schema["additionalProperties"], &format!("{at}.*"), false, found);
    }
    for (name, definition) in schema["$defs"].as_object().into_iter().flatten() {
        promises(definition, &format!("#/$defs/{name}"), true, found);
    }
}

/// A reader of version 1 that was written earlier can read what is written now. A line that is gone or changed here breaks
/// one: that takes a new version of routing.json, with a schema and a file of its own. `UPDATE_GOLDEN=1` adds lines, and
/// never takes one away.
#[test]
fn the_schema_keeps_what_it_promised() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR"));
    let schema: Value = read(&directory.join("docs/schemas/routing.v1.json"));
    let mut now = Vec::new();
    promises(&schema, "", true, &mut now);
    now.sort();
    let file = directory.join("docs/schemas/routing.v1.promises.txt");
    let promised = std::fs::read_to_string(&file).unwrap_or_default();
    let broken: Vec<_> = promised
        .lines()
        .filter(|line| !now.iter().any(|now| now == line))
        .collect();
    assert!(broken.is_empty(), "no longer so: {broken:#?}");
    if std::env::var_os("UPDATE_GOLDEN").is_some_and(|value| value == "1") {
        std::fs::write(&file, now.join("\n") + "\n").expect("writes");
    }
    let promised = std::fs::read_to_string(&file).unwrap_or_default();
    let new: Vec<_> = now
        .iter()
        .filter(|now| !promised.lines().any(|line| line == *now))
        .collect();
    assert!(new.is_empty(), "not promised yet: {new:#?}");
}

#[test]
fn every_field_of_the_schema_is_described() {
    fn undescribed(schema: &Value, at: &str, found: &mut Vec<String>) {
        let Some(fields) = schema.as_object() else { return };
        for (key, value) in fields {
            if key == "properties" {
                for (name, field) in value.as_object().into_iter().flatten() {
                    let merged = at.ends_with("/allOf");
                    if field["description"].is_null() && !merged {
                        found.push(format!("{at}/{name}"));
                    }
                    undescribed(field, &format!("{at}/{name}"), found);
                }
            } else if key == "$defs" {
                for (name, definition) in value.as_object().into_iter().flatten() {
                    undescribed(definition, &format!("{at}/{name}"), found);
                }
            } else {
                undescribed(value, &format!("{at}/{key}"), found);
            }
        }
    }
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/schemas/routing.v1.json");
    let mut found = Vec::new();
    undescribed(&read(&file), "", &mut found);
    assert!(found.is_empty(), "{found:?}");
}
