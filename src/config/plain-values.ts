/**
 * The single values that both files are made of: durations, sizes, names, addresses, patterns. One schema each.
 *
 * Each `error:` is a noun phrase that reads on after "expected". Refusals say what is wrong without repeating the value. The
 * input side is plain text, so that the JSON Schema made from it helps an editor.
 */

import { METHODS } from 'node:http'
import { isIP } from 'node:net'
import { z } from 'zod'
import { findHeaderProblem } from './header-names.ts'
import type { RefusalWords } from './parse-value.ts'
import { findNearest } from './problems.ts'
import { isHostName, isRefusal, parseAppAddress, parseCidr, parseHostPort, parseOrigin, type Refusal, unbracket } from './web-address.ts'

type Refuse = { addIssue(issue: { code: 'custom'; message: string; params?: Record<string, unknown>; path?: PropertyKey[] }): void }

/** Reports a refusal from within a transformation or refinement. */
export function refuse(context: Refuse, message: string, words: RefusalWords = {}, path: PropertyKey[] = []): never {
  context.addIssue({ code: 'custom', message, params: { ...words }, path })
  return z.NEVER
}

/** Text that is converted by `parse`, which answers with a value or a refusal. */
export function converted<T extends object | string | number>(expected: string, parse: (text: string) => T | Refusal) {
  return z.string({ error: expected }).transform((text, context): T => {
    const value = parse(text)
    if (typeof value !== 'object' || !isRefusal(value)) return value as T
    return refuse(context, value.refusal, {
      expected: value.expected ?? expected,
      ...(value.suggestion === undefined ? {} : { suggestion: value.suggestion }),
    })
  })
}

const unitSeconds = { s: 1, m: 60, h: 3600, d: 86400 } as const

/** Seconds. `most` keeps timers within what a timer can hold and typing mistakes out. */
export function duration(most: { readonly text: string; readonly seconds: number } = { text: '30d', seconds: 30 * 86400 }) {
  const expected = `a duration, such as \`30s\`, \`15m\`, \`8h\` or \`30d\``
  return converted<number>(expected, (text) => {
    const match = /^(\d{1,9})(s|m|h|d)$/.exec(text)
    if (match === null) {
      const bare = /^(\d{1,9})\s*(ms|sec|secs|seconds?|min|mins|minutes?|hours?|hrs?|days?|S|M|H|D)?$/.exec(text)
      const unit = bare?.[2] === undefined ? 's' : bare[2] === 'ms' ? undefined : bare[2][0]?.toLowerCase()
      return {
        refusal: bare === null ? 'this is not a duration' : 'the unit of this duration is missing or not known',
        ...(bare === null || unit === undefined ? {} : { suggestion: `write \`${bare[1]}${unit}\` if that is meant` }),
      }
    }
    const seconds = Number(match[1]) * unitSeconds[match[2] as keyof typeof unitSeconds]
    if (seconds === 0) return { refusal: 'a duration must be longer than nothing' }
    if (seconds > most.seconds) return { refusal: `this is longer than ${most.text}`, expected: `a duration of at most ${most.text}` }
    return seconds
  }).meta({ pattern: '^\\d+[smhd]$' })
}

const sizeUnits = { B: 1, KiB: 1024, MiB: 1024 ** 2, GiB: 1024 ** 3, TiB: 1024 ** 4 } as const

/** Bytes. */
export function size(bounds: { readonly least: number; readonly most: number } = { least: 1, most: 2 ** 50 }) {
  return converted<number>('a size, such as `32KiB`, `10MiB` or `2GiB`', (text) => {
    const match = /^(\d{1,12})(B|KiB|MiB|GiB|TiB)$/.exec(text)
    if (match === null) {
      const near = /^(\d{1,12})\s*([kmgt]?)i?b?$/i.exec(text)
      const letter = near?.[2]?.toUpperCase()
      return {
        refusal: near === null ? 'this is not a size' : 'the unit of this size is missing or not known',
        ...(near === null ? {} : { suggestion: `write \`${near[1]}${letter === undefined || letter === '' ? 'B' : `${letter}iB`}\`` }),
      }
    }
    const bytes = Number(match[1]) * sizeUnits[match[2] as keyof typeof sizeUnits]
    if (bytes < bounds.least) return { refusal: `this is smaller than ${bounds.least} bytes` }
    if (bytes > bounds.most) return { refusal: `this is larger than ${bounds.most} bytes` }
    return bytes
  }).meta({ pattern: '^\\d+(B|KiB|MiB|GiB|TiB)$' })
}

/** One line of text for people and for comparing. */
export function text(expected = 'text', most = 500) {
  return converted<string>(expected, (value) => {
    if (value === '') return { refusal: 'the text is empty' }
    if (value.length > most) return { refusal: `the text is longer than ${most} characters` }
    if (/\p{Cc}/u.test(value)) return { refusal: 'the text holds a line break or another control character' }
    if (value !== value.trim()) return { refusal: 'the text begins or ends with a blank', suggestion: 'remove the blank' }
    return value
  })
}

/** A file or folder as written; the loader makes it absolute. */
export const path = converted<string>('a path, relative to this file or absolute', (value) =>
  value === '' || /\p{Cc}/u.test(value) ? { refusal: 'this is not a path' } : value,
)

/** A picture of ours: pages load nothing from an app or from elsewhere, so an address is no picture. */
export const picturePath = converted<string>('the path of a picture file, such as `logos/wiki.svg`', (value) => {
  if (value === '' || /\p{Cc}/u.test(value)) return { refusal: 'this is not a path' }
  const isAddress = /^[a-z][a-z0-9+.-]*:/i.test(value) || value.startsWith('//')
  return isAddress
    ? { refusal: 'a picture is a file beside this document, not an address', suggestion: 'save the picture and name the file' }
    : value
})

/** Names that other places refer to: apps, secrets, services. */
export const id = converted<string>('a name of lower-case letters, digits, `-` and `_`, such as `payroll`', (value) => {
  if (/^[a-z0-9](?:[a-z0-9_-]{0,62}[a-z0-9])?$/.test(value)) return value
  const near = value
    .toLowerCase()
    .replace(/[^a-z0-9_-]+/g, '-')
    .replace(/^[-_]+|[-_]+$/g, '')
  return { refusal: 'this is not a usable name', ...(near === '' ? {} : { suggestion: `write \`${near.slice(0, 60)}\`` }) }
})

/** A name that a file defines and other places refer to: a level, a service, a strength. Nothing that reaches a prototype. */
export const definedName = converted<string>('a name of lower-case letters, digits, `-` and `_`, such as `office_hours`', (value) => {
  if (prototypeNames.has(value)) return { refusal: 'this name is never given to anything', suggestion: 'choose another name' }
  const parsed = id.safeParse(value)
  if (parsed.success) return value
  const words = parsed.error.issues[0]
  const suggestion = words?.code === 'custom' ? (words.params as RefusalWords | undefined)?.suggestion : undefined
  return { refusal: 'this is not a usable name', ...(suggestion === undefined ? {} : { suggestion }) }
})

export const bool = z.boolean({ error: '`true` or `false`' })

export const origin = converted<URL>('the public URL of the access host, such as `https://access.corp.example`', parseOrigin)
export const appAddress = converted('the public URL of the app, such as `https://wiki.corp.example`', parseAppAddress)
export const hostPort = converted('an address and a port, such as `0.0.0.0:8443`', parseHostPort)
export const cidr = converted<string>('a network such as `10.0.0.0/8`', parseCidr)

/** Where apps may lead: a network, or a host (`*.` in front: every name below it), perhaps with one port. As `upstream-reach.ts` reads it. */
export const upstreamPattern = converted<string>(
  'a host such as `wiki.internal` or `*.apps.internal`, or a network such as `10.20.0.0/16`',
  (value) => {
    if (/\/\d{1,3}$/.test(value)) return parseCidr(value)
    const [, host = '', port = '443'] = /^(?:\*\.)?(\[[0-9a-f:.]+\]|[^:[\]]+)(?::(\d{1,5}))?$/i.exec(value) ?? []
    const isHost = isHostName(host) || isIP(unbracket(host)) !== 0
    if (!isHost || Number(port) < 1 || Number(port) > 65_535) return { refusal: 'this is neither a host nor a network' }
    return value.toLowerCase()
  },
)

/** Names that reach an object's prototype: never a name that a file defines. */
export const prototypeNames: ReadonlySet<string> = new Set(['__proto__', 'constructor', 'prototype'])

const claimPathWords = 'a claim, or a dotted path to one, such as `realm_access.roles`'

/** Dots separate the steps; prototype names could reach what no claim should. */
function findClaimPathProblem(value: string): string | undefined {
  const steps = value.split('.')
  if (steps.some((step) => step === '')) return 'a step of this claim path is empty'
  if (steps.some((step) => prototypeNames.has(step))) return 'this name is never a claim'
  return steps.length > 10 || value.length > 200 || /\p{Cc}/u.test(value) ? 'this is not a claim path' : undefined
}

export const claimPath = converted<readonly string[]>(claimPathWords, (value) => {
  const refusal = findClaimPathProblem(value)
  return refusal === undefined ? value.split('.') : { refusal }
})

/** The same where the path is a key. */
export const claimPathKey = z.string({ error: claimPathWords }).superRefine((value, context) => {
  const refusal = findClaimPathProblem(value)
  if (refusal !== undefined) refuse(context, refusal, { expected: claimPathWords })
})

/** A header name as a key; what may be done with it is judged beside its purpose. */
export function headerKey(purpose: 'request' | 'response' | 'identity') {
  return z.string().superRefine((name, context) => {
    const problem = findHeaderProblem(name, purpose)
    if (problem !== undefined) refuse(context, problem, { at: 'key' })
  })
}

/** A header name as a value, in lower case. */
export function headerName(purpose: 'request' | 'response' | 'identity') {
  return converted<string>('a header name', (name) => {
    const refusal = findHeaderProblem(name, purpose)
    return refusal === undefined ? name.toLowerCase() : { refusal }
  })
}

/** Lower case: addresses are compared without regard to it. */
export const email = converted<string>('an e-mail address, such as `bob@corp.example`', (value) => {
  // Legal in an address and never meant as one: a deny with it would keep out nobody.
  if (value.includes('*')) return { refusal: 'addresses are compared whole, without wildcards', suggestion: 'write `domains: […]`' }
  if (/^[^\s@\p{C}"(),:;<>[\\\]]{1,64}@[^\s@]{1,253}$/u.test(value) && isDomainName(value.slice(value.indexOf('@') + 1)))
    return value.toLowerCase()
  return { refusal: 'this is not one e-mail address' }
})

export const domain = converted<string>('an e-mail domain, such as `corp.example`', (value) => {
  if (isDomainName(value)) return value.toLowerCase()
  const bare = value.replace(/^\*?[@.]+/, '')
  return {
    refusal: 'this is not one domain (subdomains are named one by one)',
    ...(bare !== value && isDomainName(bare) ? { suggestion: `write \`${bare.toLowerCase()}\`` } : {}),
  }
})

function isDomainName(value: string): boolean {
  return value.length <= 253 && /^[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?(?:\.[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?)+$/i.test(value)
}

export const pathPattern = converted<string>('a path pattern, such as `/admin/**` or `/reports/*`', (value) => {
  const problem = findPatternProblem(value)
  return problem === undefined ? value : { refusal: `the pattern ${problem}` }
})

/** What the compiler would refuse, and what no canonical path contains: a pattern with it would silently match nothing. */
function findPatternProblem(pattern: string): string | undefined {
  if (!pattern.startsWith('/')) return 'must start with `/`'
  if (pattern.includes('//')) return 'has an empty segment (`//`)'
  if (/[?#\\]/.test(pattern)) return 'must not contain `?`, `#` or `\\`'
  const segments = pattern.slice(1).split('/')
  if (segments.some((segment) => /^(?:\.|%2e){1,2}$/i.test(segment))) return 'has a `.` or `..` segment'
  const hasInnerTree = segments.some((segment, index) => segment.includes('**') && (segment !== '**' || index < segments.length - 1))
  if (hasInnerTree) return 'may have `**` only as its last segment, such as `/admin/**`'
  if (pattern.length > 2000) return 'is too long'
  if (/[\s\p{Cc}]/u.test(pattern)) return 'must not contain blanks or control characters'
  if (/%(?![0-9A-F]{2})/.test(pattern)) return 'has an escape that is not `%` and two upper-case hexadecimal digits'
  if (/%(?:2[DE]|3[0-9]|4[1-9A-F]|5[0-9AF]|6[1-9A-F]|7[0-9AE])/.test(pattern))
    return 'escapes a letter, digit, `-`, `.`, `_` or `~`: write it plainly'
  if (/[^\x21-\x7e]/.test(pattern)) return 'has a character that must be percent-encoded'
  if (/["<>^`{|}]/.test(pattern)) return 'has a character that must be percent-encoded'
  return undefined
}

/**
 * Method names are case-sensitive (RFC 9110 §9.1); classes are ours and lower case. A name that the listener's parser does not know never
 * arrives, so a deny for it, which is a misspelled one, would silently do nothing.
 */
export const method = converted<string>('`read`, `write`, `websocket`, or a method name such as `POST`', (value) => {
  if (value === 'read' || value === 'write' || value === 'websocket') return value
  if (value === 'TRACE' || value === 'CONNECT') return { refusal: 'TRACE and CONNECT are never forwarded' }
  if (METHODS.includes(value)) return value
  const near = findNearest(value, ['read', 'write', 'websocket', ...METHODS.filter((name) => name !== 'TRACE' && name !== 'CONNECT')])
  return { refusal: 'this is not a method', ...(near === undefined ? {} : { suggestion: `write \`${near}\`` }) }
})

/** A list that names something: empty would match nobody and nothing, which is never what was meant. */
export function listOf<S extends z.ZodType>(item: S, expected: string) {
  return z.array(item, { error: expected }).superRefine((list, context) => {
    if (list.length === 0) refuse(context, 'this list is empty', { expected, suggestion: 'remove the key or name something' })
  })
}
