//! The JSON Schema of the configuration, for editors and for tests.

use schemars::generate::SchemaSettings;
use serde_json::{Map, Value, json};

use super::policy::{MATCH, POLICY};
use crate::settings::Settings;

/// The schema, in the draft that editors understand best.
#[must_use]
pub fn schema() -> Value {
    let generator = SchemaSettings::draft07().into_generator();
    let mut schema = generator.into_root_schema_for::<Settings>().to_value();
    flatten_route(&mut schema);
    if let Some(root) = schema.as_object_mut() {
        root.insert("title".to_owned(), json!("Tidegate configuration"));
    }
    schema
}

/// Puts the fields of matches and policies among the route's own, where users write them.
fn flatten_route(schema: &mut Value) {
    let properties = |schema: &Value, name: &str| -> Map<String, Value> {
        let found = schema.pointer(&format!("/definitions/{name}/properties"));
        found.and_then(Value::as_object).cloned().unwrap_or_default()
    };
    let matches = properties(schema, "RouteMatch");
    let policy = properties(schema, "PolicySettings");
    let route = schema.pointer_mut("/definitions/RouteSettings/properties");
    let Some(route) = route.and_then(Value::as_object_mut) else { return };
    let own = std::mem::take(route);
    route.extend(matches);
    route.extend(own.into_iter().filter(|(name, _)| name != MATCH && name != POLICY));
    route.extend(policy);
    if let Some(definitions) = schema.pointer_mut("/definitions").and_then(Value::as_object_mut) {
        definitions.remove("RouteMatch");
    }
}
