/**
 * One line for a terminal that quotes what somebody else said: a provider, a device, another server.
 *
 * Names of groups, e-mail addresses and answers are text that others chose. Escape sequences in them could rewrite what an administrator
 * sees, marks of direction could turn it round, and a line break could add a line that no command wrote.
 */

/** The text with a `?` for everything that a terminal would act upon or not show. */
export function printLine(text: string): string {
  return text.replace(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/gu, '?')
}

/** JSON on one line, with everything that a terminal would act upon escaped: the value is the same to whoever parses it. */
export function printJson(value: unknown): string {
  return JSON.stringify(value).replace(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/gu, (found) =>
    [...found].map((character) => escapeCharacter(character)).join(''),
  )
}

/** Above U+FFFF JSON writes two halves (RFC 8259 §7). */
function escapeCharacter(character: string): string {
  return Array.from({ length: character.length }, (_, index) => `\\u${character.charCodeAt(index).toString(16).padStart(4, '0')}`).join('')
}

/** A number with its noun, in the plural unless it is one: `1 request`, `1,204 requests`. */
export function printCount(value: number, noun: string): string {
  return `${value.toLocaleString('en')} ${noun}${value === 1 ? '' : 's'}`
}
