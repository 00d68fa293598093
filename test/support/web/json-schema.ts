/** Holds a value against a JSON Schema: the keywords that packages/web/openapi.json uses, and no others. */
export type Schema = Readonly<Record<string, unknown>>;

/** What is wrong, by the path of the value. A keyword that is not known here is wrong too. */
export function faults(root: Schema, schema: Schema, value: unknown, at = "$"): string[] {
  return Object.entries(schema).flatMap(([keyword, wanted]) => {
    switch (keyword) {
      case "description":
      case "default":
      case "minimum":
      case "maximum":
        return [];
      case "$ref":
        return faults(root, resolve(root, String(wanted)), value, at);
      case "anyOf":
        return listOf(wanted).some((one) => faults(root, one, value, at).length === 0) ? [] : [`${at}: fits none`];
      case "type":
        return isOfType(wanted, value) ? [] : [`${at}: ${JSON.stringify(value)} is no ${JSON.stringify(wanted)}`];
      case "enum":
        return Array.isArray(wanted) && wanted.includes(value) ? [] : [`${at}: ${JSON.stringify(value)} is not listed`];
      case "properties":
        return isObject(value) ? ofProperties(root, wanted, value, at) : [];
      case "required":
        return isObject(value) && Array.isArray(wanted)
          ? wanted.filter((name) => !(String(name) in value)).map((name) => `${at}: no ${name}`)
          : [];
      case "additionalProperties": {
        const known = schema["properties"];
        return isObject(value) && isObject(known)
          ? Object.keys(value).flatMap((name) => (name in known ? [] : [`${at}: ${name} is not described`]))
          : [];
      }
      case "items":
        return Array.isArray(value) && isObject(wanted)
          ? value.flatMap((one, index) => faults(root, wanted, one, `${at}[${index}]`))
          : [];
      case "minItems":
        return Array.isArray(value) && value.length < Number(wanted) ? [`${at}: too few`] : [];
      case "maxItems":
        return Array.isArray(value) && value.length > Number(wanted) ? [`${at}: too many`] : [];
      default:
        return [`${at}: the schema has the unknown keyword ${keyword}`];
    }
  });
}

function ofProperties(root: Schema, wanted: unknown, value: Schema, at: string): string[] {
  if (!isObject(wanted)) return [];
  return Object.entries(wanted).flatMap(([name, one]) =>
    name in value && isObject(one) ? faults(root, one, value[name], `${at}.${name}`) : [],
  );
}

function isOfType(wanted: unknown, value: unknown): boolean {
  if (Array.isArray(wanted)) return wanted.some((one) => isOfType(one, value));
  switch (wanted) {
    case "null":
      return value === null;
    case "integer":
      return Number.isInteger(value);
    case "array":
      return Array.isArray(value);
    case "object":
      return isObject(value);
    default:
      return typeof value === wanted;
  }
}

export function resolve(root: Schema, reference: string): Schema {
  let found: unknown = root;
  for (const part of reference.replace("#/", "").split("/")) found = isObject(found) ? found[part] : undefined;
  if (!isObject(found)) throw new Error(`${reference} leads nowhere`);
  return found;
}

function listOf(value: unknown): Schema[] {
  return Array.isArray(value) ? value.filter(isObject) : [];
}

export function isObject(value: unknown): value is Schema {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
