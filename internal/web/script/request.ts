import type { Endpoint } from "./openapi";

/** A request as the form describes it. */
export interface Request {
  method: string;
  url: string;
  headers: Record<string, string>;
  body?: string | FormData;
}

/** What the form of an operation holds. Empty values are not sent. */
export interface Values {
  parameters: Map<string, string>;
  json?: string;
  parts?: Map<string, string | File>;
}

export function buildRequest(endpoint: Endpoint, values: Values, key: string): Request {
  let path = endpoint.path;
  const query = new URLSearchParams();
  const headers: Record<string, string> = { Accept: "application/json" };
  if (key) headers.Authorization = `Bearer ${key}`;
  for (const parameter of endpoint.operation.parameters ?? []) {
    const value = values.parameters.get(parameter.name) ?? "";
    if (parameter.in === "path") {
      if (!value) throw new Error(`${parameter.name} is needed`);
      path = path.replace(`{${parameter.name}}`, encodeURIComponent(value));
    } else if (parameter.in === "header") {
      if (value) headers[parameter.name] = value;
    } else if (value || values.parameters.get(parameter.name + "?") === "empty") {
      query.append(parameter.name, value);
    }
  }
  const text = query.toString();
  const request: Request = { method: endpoint.method, url: text ? `${path}?${text}` : path, headers };
  if (values.parts) {
    request.body = new FormData();
    for (const [name, value] of values.parts) request.body.append(name, value);
  } else if (values.json?.trim()) {
    JSON.parse(values.json); // an error here is clearer than the server's
    headers["Content-Type"] = "application/json";
    request.body = values.json;
  }
  return request;
}

/** The same request for a shell; the key stays out of it. */
export function curl(request: Request): string {
  const words = ["curl"];
  if (request.method !== "GET") words.push("-X", request.method);
  if (request.headers.Authorization) words.push("-H", '"Authorization: Bearer $KEY"');
  if (typeof request.body === "string") {
    words.push("-H", quote("Content-Type: application/json"), "--data", quote(request.body));
  } else if (request.body) {
    for (const [name, value] of request.body) {
      words.push("-F", quote(value instanceof File ? `${name}=@${value.name}` : `${name}=${value}`));
    }
  }
  words.push(quote(location.origin + request.url));
  return words.join(" ");
}

function quote(text: string): string {
  return `'${text.replace(/'/g, `'\\''`)}'`;
}
