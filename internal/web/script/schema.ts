import { element, prose } from "./dom";
import { limits, resolve, typeName, type OpenAPI, type Schema } from "./openapi";

/** A schema as a tree; objects inside it open on demand, so circles are harmless. */
export function schemaTree(document: OpenAPI, schema: Schema): HTMLElement {
  const properties = propertiesOf(document, schema);
  if (properties.length === 0) {
    const inner = innerOf(schema);
    if (inner) return schemaTree(document, inner);
    return element("p", { class: "type" }, typeName(document, schema));
  }
  const list = element("ul", { class: "schema" });
  for (const [name, property, required] of properties) {
    const title = element(
      "span",
      {},
      element("code", {}, name),
      " ",
      element("span", { class: "type" }, typeName(document, property)),
      required ? element("span", { class: "required" }, " required") : null,
    );
    const said = [property.description, limits(property)].filter(Boolean).join(" ");
    const item = element("li");
    if (hasProperties(document, property)) {
      const details = element("details", {}, element("summary", {}, title));
      details.addEventListener("toggle", () => {
        if (details.open && !details.querySelector("ul")) details.append(schemaTree(document, property));
      });
      item.append(details);
    } else {
      item.append(title);
    }
    if (said) item.append(prose(said));
    list.append(item);
  }
  return list;
}

/** What a list holds, or the one choice beside null. */
function innerOf(schema: Schema): Schema | undefined {
  if (schema.items) return schema.items;
  const choices = (schema.anyOf ?? schema.oneOf ?? []).filter((choice) => choice.type !== "null");
  if (choices.length > 0) return choices[choices.length - 1];
  return typeof schema.additionalProperties === "object" ? schema.additionalProperties : undefined;
}

type Property = [name: string, schema: Schema, required: boolean];

function propertiesOf(document: OpenAPI, schema: Schema): Property[] {
  const whole = resolve<Schema>(document, schema);
  const required = new Set(whole.required ?? []);
  const found = new Map<string, Property>();
  for (const part of whole.allOf ?? []) {
    for (const property of propertiesOf(document, part)) found.set(property[0], property);
    for (const name of resolve<Schema>(document, part).required ?? []) required.add(name);
  }
  for (const [name, property] of Object.entries(whole.properties ?? {})) found.set(name, [name, property, false]);
  return [...found.values()].map(([name, property, was]) => [name, property, was || required.has(name)]);
}

function hasProperties(document: OpenAPI, schema: Schema): boolean {
  for (let at: Schema | undefined = schema, steps = 0; at && steps < 5; at = innerOf(resolve<Schema>(document, at)), steps++) {
    if (propertiesOf(document, at).length > 0) return true;
  }
  return false;
}
