// What the page needs to know of an OpenAPI 3.1 document.

export interface Schema {
  $ref?: string;
  type?: string | string[];
  format?: string;
  description?: string;
  enum?: unknown[];
  default?: unknown;
  minimum?: number;
  maximum?: number;
  exclusiveMinimum?: number;
  minItems?: number;
  maxItems?: number;
  maxLength?: number;
  properties?: Record<string, Schema>;
  additionalProperties?: boolean | Schema;
  required?: string[];
  items?: Schema;
  allOf?: Schema[];
  anyOf?: Schema[];
  oneOf?: Schema[];
}

export interface Parameter {
  name: string;
  in: "query" | "path" | "header" | "cookie";
  required?: boolean;
  description?: string;
  deprecated?: boolean;
  schema?: Schema;
}

type Content = Record<string, { schema?: Schema }>;

export interface Answer {
  $ref?: string;
  description?: string;
  content?: Content;
}

export interface Operation {
  operationId: string;
  tags?: string[];
  summary?: string;
  description?: string;
  deprecated?: boolean;
  security?: unknown[];
  parameters?: Parameter[];
  requestBody?: { required?: boolean; content: Content };
  responses: Record<string, Answer>;
}

export interface OpenAPI {
  info: { title: string; version: string; description?: string };
  tags?: { name: string; description?: string }[];
  paths: Record<string, Record<string, unknown>>;
  components?: unknown;
}

/** An operation with where it is. */
export interface Endpoint {
  method: string;
  path: string;
  operation: Operation;
}

const methods = ["get", "post", "put", "patch", "delete"];

/** Groups the operations by their first tag, in the order of the document's tags. */
export function endpointsByTag(document: OpenAPI): Map<string, Endpoint[]> {
  const groups = new Map<string, Endpoint[]>();
  for (const tag of document.tags ?? []) groups.set(tag.name, []);
  for (const [path, item] of Object.entries(document.paths)) {
    for (const method of methods) {
      const operation = item[method] as Operation | undefined;
      if (!operation) continue;
      const shared = (item.parameters ?? []) as Parameter[];
      const parameters = [...shared, ...(operation.parameters ?? [])].map((p) => resolve(document, p));
      const tag = operation.tags?.[0] ?? "Other";
      if (!groups.has(tag)) groups.set(tag, []);
      groups.get(tag)!.push({ method: method.toUpperCase(), path, operation: { ...operation, parameters } });
    }
  }
  for (const [tag, endpoints] of groups) if (endpoints.length === 0) groups.delete(tag);
  return groups;
}

/** Follows a reference inside the document. */
export function resolve<T extends object>(document: OpenAPI, node: T & { $ref?: string }): T {
  let current: any = node;
  for (let steps = 0; current?.$ref && steps < 10; steps++) {
    let target: any = document;
    for (const name of current.$ref.replace(/^#\//, "").split("/")) {
      target = target?.[name.replace(/~1/g, "/").replace(/~0/g, "~")];
    }
    current = target ?? {};
  }
  return current;
}

/** The last part of a reference: the name that the document gives to a schema. */
export function referenceName(schema: Schema): string {
  return schema.$ref ? schema.$ref.slice(schema.$ref.lastIndexOf("/") + 1) : "";
}

/** A type in a few words: "string or null", "list of AssetResponse". */
export function typeName(document: OpenAPI, schema: Schema | undefined): string {
  if (!schema) return "anything";
  if (schema.$ref) return referenceName(schema);
  const choices = schema.anyOf ?? schema.oneOf;
  if (choices) return choices.map((choice) => typeName(document, choice)).join(" or ");
  if (schema.allOf) return schema.allOf.map((part) => typeName(document, part)).join(" and ");
  const types = schema.type === undefined ? [] : [schema.type].flat();
  const names = types.map((type) => {
    if (type === "array") return `list of ${typeName(document, schema.items)}`;
    return type === "string" && schema.format ? schema.format : type;
  });
  return names.join(" or ") || "anything";
}

/** The limits of a value in a few words. */
export function limits(schema: Schema | undefined): string {
  if (!schema) return "";
  const said: string[] = [];
  const values = schema.enum ?? schema.items?.enum;
  if (values) said.push(values.join(", "));
  if (schema.minimum !== undefined) said.push(`at least ${schema.minimum}`);
  if (schema.exclusiveMinimum !== undefined) said.push(`more than ${schema.exclusiveMinimum}`);
  if (schema.maximum !== undefined) said.push(`at most ${schema.maximum}`);
  if (schema.minItems !== undefined) said.push(`${schema.minItems} or more`);
  if (schema.maxItems !== undefined) said.push(`up to ${schema.maxItems}`);
  if (schema.maxLength !== undefined) said.push(`up to ${schema.maxLength} characters`);
  if (schema.default !== undefined) said.push(`default ${JSON.stringify(schema.default)}`);
  return said.join("; ");
}

/** A value to start from when a body is written by hand. */
export function example(document: OpenAPI, schema: Schema | undefined, depth = 0): unknown {
  if (!schema || depth > 4) return null;
  if (schema.$ref) return example(document, resolve(document, schema), depth + 1);
  if (schema.default !== undefined) return schema.default;
  if (schema.enum) return schema.enum[0];
  const choices = schema.anyOf ?? schema.oneOf;
  if (choices) return example(document, choices[0], depth + 1);
  if (schema.allOf) return Object.assign({}, ...schema.allOf.map((part) => example(document, part, depth + 1)));
  switch ([schema.type].flat()[0]) {
    case "object": {
      const required = new Set(schema.required ?? []);
      const entries = Object.entries(schema.properties ?? {});
      const wanted = required.size > 0 ? entries.filter(([name]) => required.has(name)) : entries;
      return Object.fromEntries(wanted.map(([name, property]) => [name, example(document, property, depth + 1)]));
    }
    case "array":
      return [example(document, schema.items, depth + 1)];
    case "integer":
    case "number":
      return schema.minimum ?? 0;
    case "boolean":
      return false;
    case "string":
      return "";
  }
  return null;
}
