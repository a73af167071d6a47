fn main() {
    print!("{}", serde_yaml::to_string(&distributary::api::crd()).unwrap());
}
