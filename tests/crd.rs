//! The CustomResourceDefinition: the checked-in copies equal the code, and the schema keeps the rules of the house.
//!
//! What only an API server can judge (the cost of the rules, the message of every invalid policy) is in
//! `tests/cluster/admission.rs`.

use std::fs;

use serde_json::Value;

/// `kubectl apply` keeps a whole object in an annotation of at most this size.
const ANNOTATION_BYTES: usize = 262_144;

const CRD: &str = "crds/replicasetpolicies.distributary.dev.yaml";
const CHART: &str = "charts/distributary/files/crd.yaml";

fn file(path: &str) -> String {
    let path = format!("{}/{path}", env!("CARGO_MANIFEST_DIR"));
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn schema() -> Value {
    distributary_api::crd()["spec"]["versions"][0]["schema"]["openAPIV3Schema"].clone()
}

/// One place of the schema: `.spec.replicas[].id`, what is there, and whether it is below a list.
struct Place<'a> {
    path: String,
    schema: &'a Value,
    in_list: bool,
}

impl Place<'_> {
    fn is(&self, kind: &str) -> bool {
        self.schema["type"] == kind
    }
    fn has(&self, keyword: &str) -> bool {
        self.schema.get(keyword).is_some()
    }
}

fn places(schema: &Value) -> Vec<Place<'_>> {
    let mut found = vec![Place {
        path: String::new(),
        schema,
        in_list: false,
    }];
    let mut next = 0;
    while next < found.len() {
        let Place {
            path,
            schema,
            in_list,
        } = &found[next];
        let properties = schema["properties"].as_object().into_iter().flatten();
        let mut children: Vec<_> = properties
            .map(|(name, schema)| Place {
                path: format!("{path}.{name}"),
                schema,
                in_list: *in_list,
            })
            .collect();
        if let Some(schema) = schema.get("items") {
            children.push(Place {
                path: format!("{path}[]"),
                schema,
                in_list: true,
            });
        }
        if let Some(schema) = schema.get("additionalProperties") {
            children.push(Place {
                path: format!("{path}{{}}"),
                schema,
                in_list: true,
            });
        }
        found.extend(children);
        next += 1;
    }
    found
}

/// The places where `broken` holds must be none.
fn none(what: &str, broken: impl Fn(&Place) -> bool) {
    let schema = schema();
    let found: Vec<_> = places(&schema)
        .into_iter()
        .filter(broken)
        .map(|place| place.path)
        .collect();
    assert!(found.is_empty(), "{what}: {found:?}");
}

#[test]
fn the_checked_in_file_is_what_the_code_says() {
    let code = serde_yaml::to_string(&distributary_api::crd()).unwrap();
    assert!(file(CRD) == code, "{CRD} differs from the code: make crd");
}

#[test]
fn the_copy_in_the_chart_is_the_checked_in_file() {
    assert!(file(CHART) == file(CRD), "{CHART} differs from {CRD}: make crd");
}

#[test]
fn it_fits_into_the_annotation_of_kubectl_apply() {
    let bytes = distributary_api::crd().to_string().len();
    assert!(bytes < ANNOTATION_BYTES, "{bytes} bytes");
}

#[test]
fn the_walk_through_the_schema_reaches_its_leaves() {
    let schema = schema();
    let paths: Vec<_> = places(&schema).into_iter().map(|place| place.path).collect();
    for path in [
        ".spec.replicas[].connection.tls.caSecretRef.key",
        ".spec.replicas[].tags[]",
        ".spec.outputs.metadata.labels{}",
        ".status.summary.display",
    ] {
        assert!(paths.iter().any(|found| found == path), "{path}");
    }
}

#[test]
fn nothing_is_nullable() {
    none("nullable", |place| place.has("nullable"));
    let null = |place: &Place| {
        place.schema["enum"]
            .as_array()
            .is_some_and(|variants| variants.contains(&Value::Null))
    };
    none("null in an enum", null);
}

#[test]
fn no_format_is_unknown_to_kubernetes() {
    none("format", |place| {
        let format = place.schema["format"].as_str();
        format.is_some_and(|format| !["int32", "int64", "date-time"].contains(&format))
    });
}

#[test]
fn every_property_is_described() {
    none("without a description", |place| {
        !place.path.ends_with("[]")
            && !place.path.ends_with("{}")
            && place.schema["description"]
                .as_str()
                .is_none_or(|text| text.trim().is_empty())
    });
}

#[test]
fn a_description_is_for_readers_of_kubectl_explain() {
    let of_rust = |text: &str| text.contains("crate::") || text.contains("[`");
    none("a link of rustdoc", |place| {
        place.schema["description"].as_str().is_some_and(of_rust)
    });
    // The line breaks of the source would be kept.
    let broken = |text: &str| text.replace("\n\n", "").contains('\n');
    none("a line break", |place| {
        place.schema["description"].as_str().is_some_and(broken)
    });
}

#[test]
fn items_of_lists_have_no_defaults() {
    none("a default below a list item", |place| {
        place.in_list && place.has("default")
    });
}

#[test]
fn everything_in_the_spec_is_bounded() {
    let in_spec = |place: &Place| place.path.starts_with(".spec");
    none("a string without maxLength or enum", |place| {
        in_spec(place) && place.is("string") && !place.has("maxLength") && !place.has("enum")
    });
    none("a list without maxItems", |place| {
        in_spec(place) && place.is("array") && !place.has("maxItems")
    });
    none("a number without bounds", |place| {
        in_spec(place) && place.is("integer") && !(place.has("minimum") && place.has("maximum"))
    });
    none("a map without maxProperties", |place| {
        in_spec(place) && place.has("additionalProperties") && !place.has("maxProperties")
    });
}

#[test]
fn every_list_says_how_it_is_merged() {
    none("a list without x-kubernetes-list-type", |place| {
        place.is("array") && !place.has("x-kubernetes-list-type")
    });
}

#[test]
fn every_message_names_a_field() {
    let schema = schema();
    let all = places(&schema);
    // The last word of a path, `id` of `.spec.replicas[].id`, and the two of the object itself.
    let mut fields: Vec<_> = all
        .iter()
        .filter_map(|place| place.path.rsplit('.').next())
        .collect();
    fields.extend(["metadata", "name"]);
    let mut rules = 0;
    for place in &all {
        for rule in place.schema["x-kubernetes-validations"]
            .as_array()
            .into_iter()
            .flatten()
        {
            rules += 1;
            let message = rule["message"].as_str().unwrap_or_default();
            let mut words = message
                .split(|c: char| !c.is_ascii_alphanumeric())
                .filter(|word| !word.is_empty());
            assert!(
                words.any(|word| fields.contains(&word)),
                "{}: {message:?} names no field",
                place.path
            );
        }
    }
    assert!(rules > 20, "{rules} rules");
}

#[test]
fn kubectl_get_shows_these_columns() {
    let crd = distributary_api::crd();
    let columns = crd["spec"]["versions"][0]["additionalPrinterColumns"]
        .as_array()
        .unwrap();
    let names = |wide: bool| -> Vec<_> {
        let chosen = columns
            .iter()
            .filter(|column| (column["priority"].as_i64().unwrap_or(0) > 0) == wide);
        chosen.map(|column| column["name"].as_str().unwrap()).collect()
    };
    assert_eq!(names(false), ["Ready", "Primary", "Replicas", "Degraded", "Age"]);
    assert_eq!(names(true), ["Strategy", "Lag", "Reason", "Message", "Revision"]);
}

#[test]
fn it_is_known_by_its_short_name_and_category() {
    let names = &distributary_api::crd()["spec"]["names"];
    assert_eq!(names["shortNames"], serde_json::json!(["rsp"]));
    assert_eq!(names["categories"], serde_json::json!(["postgres"]));
}
