import { send } from "./answer";
import { element, prose } from "./dom";
import { example, limits, resolve, typeName, type Answer, type Endpoint, type OpenAPI, type Parameter, type Schema } from "./openapi";
import { buildRequest, type Values } from "./request";
import { schemaTree } from "./schema";

/** An operation, closed: its parts are made when it is first opened. */
export function endpointView(document: OpenAPI, endpoint: Endpoint, key: () => string): HTMLDetailsElement {
  const { method, path, operation } = endpoint;
  const view = element(
    "details",
    { class: "operation", id: operation.operationId, "data-search": `${method} ${path} ${operation.summary ?? ""}`.toLowerCase() },
    element(
      "summary",
      {},
      element("span", { class: `method ${method.toLowerCase()}` }, method),
      element("code", { class: "path" }, path),
      element("span", { class: "summary" }, operation.summary ?? ""),
    ),
  );
  view.addEventListener("toggle", () => {
    if (!view.open || view.querySelector("form")) return;
    if (operation.description) view.append(prose(operation.description));
    view.append(requestForm(document, endpoint, key), answers(document, operation.responses));
  });
  return view;
}

function requestForm(document: OpenAPI, endpoint: Endpoint, key: () => string): HTMLElement {
  const form = element("form", { autocomplete: "off" });
  const parameters = endpoint.operation.parameters ?? [];
  if (parameters.length > 0) form.append(element("h4", {}, "Parameters"));
  for (const parameter of parameters) form.append(parameterField(document, endpoint, parameter));

  const content = endpoint.operation.requestBody?.content ?? {};
  const [type] = Object.keys(content);
  const schema = type === undefined ? undefined : content[type].schema;
  if (schema) {
    form.append(element("h4", {}, "Body ", element("span", { class: "type" }, type)));
    if (type === "multipart/form-data") {
      const whole = resolve<Schema>(document, schema);
      for (const [name, property] of Object.entries(whole.properties ?? {})) {
        form.append(partField(document, endpoint, name, property, whole.required?.includes(name) ?? false));
      }
    } else {
      const text = JSON.stringify(example(document, schema), null, 2);
      const area = element("textarea", { name: "body", spellcheck: "false", rows: Math.min(14, text.split("\n").length + 1), "aria-label": "Body" });
      area.value = text;
      form.append(area, element("details", {}, element("summary", {}, "Fields"), schemaTree(document, schema)));
    }
  }
  const output = element("div", { class: "answer", "aria-live": "polite" });
  form.append(element("button", { type: "submit", class: "send" }, "Send"), output);
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    try {
      void send(buildRequest(endpoint, readForm(form, type), key()), output);
    } catch (problem) {
      output.replaceChildren(element("p", { class: "status failed" }, problem instanceof Error ? problem.message : String(problem)));
    }
  });
  return form;
}

function readForm(form: HTMLFormElement, type: string | undefined): Values {
  const values: Values = { parameters: new Map() };
  if (type === "multipart/form-data") values.parts = new Map();
  for (const field of form.querySelectorAll<HTMLInputElement | HTMLSelectElement | HTMLTextAreaElement>("[name]")) {
    const [kind, name] = [field.dataset.kind, field.name];
    if (kind === "empty") {
      if ((field as HTMLInputElement).checked) values.parameters.set(name + "?", "empty");
    } else if (kind === "part") {
      const file = field instanceof HTMLInputElement ? field.files?.[0] : undefined;
      if (file) values.parts?.set(name, file);
      else if (field.type !== "file" && field.value) values.parts?.set(name, field.value);
    } else if (name === "body") {
      values.json = field.value;
    } else {
      values.parameters.set(name, field.value);
    }
  }
  return values;
}

function parameterField(document: OpenAPI, endpoint: Endpoint, parameter: Parameter): HTMLElement {
  const { name, schema } = parameter;
  const id = `${endpoint.operation.operationId}-${name}`;
  let input: HTMLElement;
  if (schema?.enum || schema?.type === "boolean") {
    const choices = (schema.enum ?? [true, false]).map((value) => element("option", {}, String(value)));
    input = element("select", { id, name }, element("option", { value: "" }, ""), ...choices);
  } else {
    const hint = schema?.type === "array" ? "several: with commas" : schema?.default;
    input = element("input", { id, name, required: parameter.in === "path", placeholder: hint === undefined ? "" : String(hint) });
  }
  const field = labelled(id, name, typeName(document, schema), parameter.required, [parameter.description, limits(schema)], input);
  if (parameter.in === "query" && schema?.type === "array" && name === "include") {
    const box = element("input", { type: "checkbox", name, "data-kind": "empty" });
    field.append(element("label", { class: "empty" }, box, " send it empty: the lean shape"));
  }
  return field;
}

function partField(document: OpenAPI, endpoint: Endpoint, name: string, schema: Schema, required: boolean): HTMLElement {
  const id = `${endpoint.operation.operationId}-${name}`;
  const binary = schema.format === "binary";
  const input = element("input", { id, name, "data-kind": "part", type: binary ? "file" : "text", required });
  if (schema.format === "date-time" && required) input.value = new Date().toISOString();
  else if (required && !binary) input.value = name === "device_id" ? "docs" : String(Date.now());
  return labelled(id, name, typeName(document, schema), required, [schema.description, limits(schema)], input);
}

function labelled(id: string, name: string, type: string, required: boolean | undefined, said: (string | undefined)[], input: HTMLElement): HTMLElement {
  const label = element(
    "label",
    { for: id },
    element("code", {}, name),
    " ",
    element("span", { class: "type" }, type),
    required ? element("span", { class: "required" }, " required") : null,
  );
  return element("div", { class: "field" }, label, input, prose(said.filter(Boolean).join(" ")));
}

function answers(document: OpenAPI, responses: Record<string, Answer>): HTMLElement {
  const section = element("section", {}, element("h4", {}, "Answers"));
  for (const [status, response] of Object.entries(responses)) {
    const answer = resolve<Answer>(document, response);
    const title = element("summary", {}, element("span", { class: status < "300" ? "code ok" : "code" }, status), ` ${answer.description ?? ""}`);
    const details = element("details", {}, title);
    for (const [type, media] of Object.entries(answer.content ?? {})) {
      details.append(element("p", { class: "type" }, `${type}: ${typeName(document, media.schema)}`));
      if (media.schema) details.append(schemaTree(document, media.schema));
    }
    section.append(details);
  }
  return section;
}
