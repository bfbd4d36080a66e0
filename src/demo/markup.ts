/**
 * HTML that is escaped unless it was made by `html` itself: the one way the demo's pages put text into markup.
 *
 * A value in the template is escaped for text and for quoted attributes. It does not make a `javascript:` address or an
 * unquoted attribute safe, so the pages write neither. Lists are joined, `undefined` and `false` print nothing.
 */

/** Text that is already HTML. Only `html` makes it. */
export class Markup {
  readonly #text: string
  constructor(text: string) {
    this.#text = text
  }
  toString(): string {
    return this.#text
  }
}

export type MarkupValue = string | number | false | undefined | Markup | readonly Markup[]

/** Tagged template: ``html`<p>${text}</p>` `` with every value escaped, except markup made the same way. */
export function html(parts: TemplateStringsArray, ...values: readonly MarkupValue[]): Markup {
  let text = parts[0] ?? ''
  values.forEach((value, index) => {
    text += print(value) + (parts[index + 1] ?? '')
  })
  return new Markup(text)
}

/** Marks a string as HTML. For text that another library rendered and escaped itself. */
export function dangerouslyTrustedMarkup(text: string): Markup {
  return new Markup(text)
}

function print(value: MarkupValue): string {
  if (value === undefined || value === false) return ''
  if (value instanceof Markup) return value.toString()
  if (Array.isArray(value)) return value.join('')
  return String(value).replace(/[&<>"']/g, (character) => escapes[character] ?? '')
}

const escapes: Readonly<Record<string, string>> = { '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;', "'": '&#39;' }
