/**
 * Browser and system as a user agent states them: a hint for people who use the wrong browser, never proof of anything.
 *
 * The only door to the parser. Whoever sends the request chooses this text, so it is bounded before it is looked at, what was read is
 * remembered in bounded memory, and what is not stated in words that rules know is unknown.
 */

import { parse } from 'bowser'
import type { ClientFacts, Known } from '../policy/facts.ts'

/** Reads a user agent. Never throws. */
export type ClientHintReader = (userAgent: string | undefined) => ClientFacts

/** Real ones stay below 300 characters; the parser tries some hundred patterns on it. */
const maxLength = 512
/** Distinct user agents in use at a company, many times over; strangers may invent as many as they like. */
const maxRemembered = 2000

/** What rules call them (`config` accepts these names and no others); the rest are named by the same pattern. */
const names: Readonly<Record<string, string>> = {
  'Microsoft Edge': 'edge',
  Chromium: 'chrome',
  'Samsung Internet for Android': 'samsung_internet',
  'Chrome OS': 'chromeos',
}

const notStated = { known: false, why: 'not_stated' } as const
const nothingStated: ClientFacts = { browser: notStated, browserVersion: notStated, os: notStated }

/** A reader with a memory of its own. */
export function createClientHintReader(): ClientHintReader {
  const remembered = new Map<string, ClientFacts>()
  return (userAgent) => {
    if (userAgent === undefined || userAgent === '' || userAgent.length > maxLength) return nothingStated
    const earlier = remembered.get(userAgent)
    if (earlier !== undefined) return earlier
    const facts = readUserAgent(userAgent)
    const [oldest] = remembered.size < maxRemembered ? [] : remembered.keys()
    if (oldest !== undefined) remembered.delete(oldest)
    remembered.set(userAgent, facts)
    return facts
  }
}

function readUserAgent(userAgent: string): ClientFacts {
  try {
    const { browser, os } = parse(userAgent)
    return { browser: known(nameOf(browser.name)), browserVersion: known(versionOf(browser.version)), os: known(nameOf(os.name)) }
  } catch {
    // The parser throws for some texts that are no user agent.
    return nothingStated
  }
}

function known(value: string | undefined): Known<string> {
  return value === undefined ? notStated : { known: true, value }
}

function nameOf(name: string | undefined): string | undefined {
  if (name === undefined || name === '') return undefined
  return Object.hasOwn(names, name) ? names[name] : name.toLowerCase().replace(/[^a-z0-9]+/g, '_')
}

/** Numbers with dots: anything else compares with nothing. */
function versionOf(version: string | undefined): string | undefined {
  return version !== undefined && /^\d{1,9}(?:\.\d{1,9}){0,5}$/.test(version) ? version : undefined
}
