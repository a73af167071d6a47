use super::*;

#[test]
fn the_description_is_openapi_and_every_operation_tells_its_problems() {
    let document: serde_json::Value = serde_json::from_str(document()).unwrap();
    assert!(document["openapi"].as_str().unwrap().starts_with("3.1"));
    let mut operations = 0;
    for methods in document["paths"].as_object().unwrap().values() {
        for operation in methods.as_object().unwrap().values() {
            operations += 1;
            for code in ["400", "401", "403", "404", "429", "503", "504"] {
                assert!(operation["responses"][code].is_object(), "{operation}");
            }
        }
    }
    assert_eq!(operations, 8);
}
