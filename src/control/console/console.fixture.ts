/**
 * A console for tests: a real access host with the pages of the given themes, and people who hold its roles.
 *
 * Sessions, store, guards, roles and templates are the real ones; only the provider's part is left out, since each person's session is begun as
 * a completed sign-in would. Nothing is followed by itself: a test sees the answer that a browser would.
 */

import type { Asker, Role } from '../../administration/asker.ts'
import { permissionsByRole } from '../../administration/asker.ts'
import { type ConsoleRoleSettings, createConsoleRoles } from '../../administration/console-roles.ts'
import type { AuditEvent } from '../../audit/event.ts'
import type { Level } from '../../policy/document.ts'
import { createSealedCookies } from '../../session/cookies.ts'
import type { Session } from '../../session/session.ts'
import {
  type AccessHost,
  type Answer,
  accessUrl,
  type Browser,
  type HostParts,
  startAccessHost,
  testApps,
  type Visit,
} from '../control-plane.fixture.ts'
import type { ConsoleSettings } from './console.ts'
import type { ConsoleRoutes } from './console-page.ts'
import { createConsoleTokens } from './console-token.ts'

/** Who visits: somebody with a role, somebody signed in without one, or a stranger. */
export type TestPerson = Role | 'none' | 'stranger'

export interface TestConsole {
  readonly host: AccessHost
  readonly events: AuditEvent[]
  /** A navigation to `path`, or what `visit` says. */
  visit(person: TestPerson, path: string, visit?: Visit): Promise<Answer>
  /**
   * Sends a form as the page would: with the person's token, from this origin. `from` is the page that the form stands on: it is fetched, and
   * the token is taken from it. An array sends a field several times.
   */
  submit(
    person: TestPerson,
    path: string,
    fields?: Readonly<Record<string, string | readonly string[]>>,
    how?: { readonly from?: string; readonly headers?: Record<string, string> },
  ): Promise<Answer>
  /** The page that a redirect leads to. */
  follow(person: TestPerson, answer: Answer): Promise<Answer>
  browser(person: TestPerson): Browser
  session(person: Exclude<TestPerson, 'stranger'>): Session
  /** As the console's own guard would describe them. */
  asker(role: Role): Asker
  token(person: Exclude<TestPerson, 'stranger'>): string
  close(): Promise<void>
}

export interface TestConsoleOptions {
  /** Pages; given what the host is made of, for ports of their own. */
  readonly mounts: readonly ((routes: ConsoleRoutes) => void)[] | ((parts: HostParts) => readonly ((routes: ConsoleRoutes) => void)[])
  readonly roles?: Partial<ConsoleRoleSettings>
  /** Levels of the policy, for `requiredLevels`; read anew for each request. */
  readonly levels?: () => readonly Level[]
  readonly findInvitation?: (email: string) => Promise<readonly Role[]>
  readonly signInWithinSeconds?: number
  readonly rules?: Parameters<typeof startAccessHost>[2]
  readonly closing?: AbortSignal
}

/** What roles ask for unless a test says otherwise: a group each. */
export const testRoles: ConsoleRoleSettings = {
  admin: { kind: 'groups', groups: ['postern-admins'] },
  auditor: { kind: 'groups', groups: ['postern-auditors'] },
  helpdesk: { kind: 'groups', groups: ['postern-helpdesk'] },
  requiredLevels: [],
}

const groupOf = { admin: 'postern-admins', auditor: 'postern-auditors', helpdesk: 'postern-helpdesk', none: 'staff' } as const
const people = ['admin', 'auditor', 'helpdesk', 'none'] as const

/** The form headers of a browser that sends a form of the access host itself. */
export const formHeaders = {
  accept: 'text/html',
  origin: accessUrl.origin,
  'sec-fetch-site': 'same-origin',
  'sec-fetch-mode': 'navigate',
  'sec-fetch-dest': 'document',
} as const

/** Starts one. */
export async function startConsole(options: TestConsoleOptions): Promise<TestConsole> {
  const levels = options.levels ?? (() => [])
  let policy: { readonly version: string; readonly zone: string; readonly levels: readonly Level[] } | undefined
  const currentPolicy = () => {
    const now = levels()
    if (policy?.levels !== now) policy = { version: 'test', zone: 'UTC', levels: now }
    return policy
  }
  const settingsOf = (parts: HostParts): ConsoleSettings => ({
    roles: createConsoleRoles({
      settings: { ...testRoles, ...options.roles },
      policy: currentPolicy,
      findInvitation: options.findInvitation ?? (async () => []),
    }),
    live: parts.live,
    signInWithinSeconds: options.signInWithinSeconds ?? 3600,
    mounts: typeof options.mounts === 'function' ? options.mounts(parts) : options.mounts,
    closing: options.closing ?? new AbortController().signal,
  })
  const host = await startAccessHost((parts) => ({ console: settingsOf(parts) }), testApps(), options.rules)
  const cookies = createSealedCookies(host.sealer)
  const tokens = createConsoleTokens(host.sealer.keys)
  const browsers = new Map<TestPerson, Browser>([['stranger', host.browser()]])
  const sessions = new Map<TestPerson, Session>()
  for (const person of people) {
    const { secret, session } = await host.sessions.begin(signedInAs(person, host.sealer.now()), {
      address: '192.0.2.1',
      userAgent: 'test',
    })
    const browser = host.browser()
    const [pair = ''] = cookies.writeSession('session', secret, accessUrl).split(';')
    browser.cookies.set(pair.slice(0, pair.indexOf('=')), pair.slice(pair.indexOf('=') + 1))
    browsers.set(person, browser)
    sessions.set(person, session)
  }

  const browser = (person: TestPerson) => get(browsers, person)
  const session = (person: Exclude<TestPerson, 'stranger'>) => get(sessions, person)
  const token = (person: TestPerson) => (person === 'stranger' ? '' : tokens.issue(session(person)))
  const visit: TestConsole['visit'] = (person, path, how) => browser(person).visit(path, how)

  return {
    host,
    events: host.events,
    visit,
    async submit(person, path, fields = {}, { from, headers } = {}) {
      const page = from === undefined ? undefined : await visit(person, from)
      const shown = page === undefined ? token(person) : tokenIn(page)
      const body = new URLSearchParams({ form_token: shown, ...(from === undefined ? {} : { form_page: from }) })
      for (const [name, value] of Object.entries(fields))
        for (const one of typeof value === 'string' ? [value] : value) body.append(name, one)
      return await visit(person, path, {
        method: 'POST',
        body: body.toString(),
        headers: { ...formHeaders, 'content-type': 'application/x-www-form-urlencoded', ...headers },
      })
    },
    follow(person, { location }) {
      if (location === undefined) throw new TypeError('this answer leads nowhere')
      return visit(person, `${location.pathname}${location.search}`)
    },
    browser,
    session,
    asker: (role) => {
      const { issuer, sub } = session(role)
      const label = `${role}@corp.example`
      return { actor: `person:${sub}`, label, subject: { issuer, sub }, roles: [role], permissions: permissionsByRole[role] }
    },
    token,
    close: () => host.close(),
  }

  function signedInAs(person: (typeof people)[number], at: number): Parameters<AccessHost['sessions']['begin']>[0] {
    const sub = `sub-${person}`
    const authTime = Math.floor(at / 1000) * 1000
    const claims = { sub, name: `The ${person}`, email: `${person}@corp.example`, email_verified: true, groups: [groupOf[person]] }
    return {
      issuer: host.provider.issuer,
      sub,
      claims: Object.assign(Object.create(null), claims) as Readonly<Record<string, unknown>>,
      signIn: { at: authTime, authTime, acr: undefined, amr: ['pwd'] },
      tokens: { idToken: 'x', accessToken: 'x', refreshToken: undefined },
      providerSid: undefined,
    }
  }
}

/** The token in a page's form. */
export function tokenIn({ body }: Pick<Answer, 'body'>): string {
  const token = /name="form_token" value="([^"]+)"/.exec(body)?.[1]
  if (token === undefined) throw new TypeError('this page has no form with a token')
  return token
}

function get<T>(map: ReadonlyMap<TestPerson, T>, person: TestPerson): T {
  const found = map.get(person)
  if (found === undefined) throw new TypeError(`there is no ${person}`)
  return found
}
