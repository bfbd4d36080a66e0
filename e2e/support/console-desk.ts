/**
 * The console as an attacker takes it: every route that there is, by the pages' own word, and a desk to send to them from.
 *
 * The routes are recorded by mounting every page module on a recorder, so that a page that is added is attacked without being listed anywhere.
 */

import { readdirSync } from 'node:fs'
import { join } from 'node:path'
import type { Permission } from '../../src/administration/asker.ts'
import type { ConsoleRoutes } from '../../src/control/console/console-page.ts'
import { type Answer, Client } from './client.ts'
import type { Rig } from './rig.ts'
import { noteSecret } from './secret-watch.ts'

export interface ConsoleRoute {
  readonly method: 'GET' | 'POST'
  /** With parameters, such as `/console/apps/:app`. */
  readonly pattern: string
  readonly permission: Permission
}

const pagesFolder = join(import.meta.dirname, '../../src/control/console')

/** Every route of every page module. */
export async function listConsoleRoutes(): Promise<readonly ConsoleRoute[]> {
  const found = new Map<string, ConsoleRoute>()
  const note = (method: ConsoleRoute['method']) => (pattern: string, permission: Permission) => {
    found.set(`${method} ${pattern}`, { method, pattern, permission })
  }
  const recorder: ConsoleRoutes = { get: note('GET'), post: note('POST') }
  for (const file of readdirSync(pagesFolder).filter((name) => name.endsWith('-pages.ts'))) {
    const module = (await import(join(pagesFolder, file))) as Readonly<Record<string, unknown>>
    for (const [name, mount] of Object.entries(module))
      if (name.startsWith('mount') && typeof mount === 'function') mount(recorder, anything())
  }
  return [...found.values()]
}

/** Ports that nobody asks for anything while routes are only named. */
function anything(): object {
  return new Proxy(() => undefined, { get: () => anything(), apply: () => anything() })
}

/** A path of this pattern, with a value in each parameter's place. */
export function pathOf({ pattern }: ConsoleRoute, value = '1'): string {
  return pattern.replaceAll(/:\w+/g, value)
}

/** Somebody with a browser at the access host. */
export class Desk {
  readonly client = new Client()
  readonly #origin: string

  private constructor(origin: string) {
    this.#origin = origin
  }

  static async of(rig: Rig, person: string): Promise<Desk> {
    const desk = new Desk(rig.origin('access'))
    const answer = await rig.signIn(desk.client, person, desk.at('/'))
    if (answer.status !== 200) throw new Error(`${person} could not sign in: ${answer.status}\n${answer.trail.join('\n')}`)
    return desk
  }

  at(path: string): string {
    return new URL(path, this.#origin).href
  }

  open(path: string): Promise<Answer> {
    return this.client.send(this.at(path))
  }

  /** The token of a form that this role finds somewhere. */
  async formToken(): Promise<string> {
    for (const page of ['/console/apps/new', '/console/locks', '/console/trail/verify']) {
      const token = tokenIn((await this.open(page)).body)
      if (token === undefined) continue
      noteSecret(token, 'a token of a form')
      return token
    }
    throw new Error('no page has a form for this role')
  }

  /** A form as a browser sends it from a page of the console; `headers` replace what a browser says. */
  post(path: string, fields: Readonly<Record<string, string>> | string, headers: Readonly<Record<string, string>> = {}): Promise<Answer> {
    return this.client.send(this.at(path), {
      method: 'POST',
      body: typeof fields === 'string' ? fields : new URLSearchParams(fields).toString(),
      headers: {
        'content-type': 'application/x-www-form-urlencoded',
        origin: this.#origin,
        'sec-fetch-site': 'same-origin',
        ...headers,
      },
    })
  }

  /** An order of a program with this token, or with none. */
  api(method: string, path: string, token: string | undefined, body?: unknown): Promise<Answer> {
    return new Client().send(this.at(`/api/v1${path}`), {
      as: 'fetch',
      method,
      headers: {
        ...(token === undefined ? {} : { authorization: `Bearer ${token}` }),
        ...(body === undefined ? {} : { 'content-type': 'application/json' }),
      },
      ...(body === undefined ? {} : { body: typeof body === 'string' ? body : JSON.stringify(body) }),
    })
  }
}

/** The hidden token of the first form in a page. */
export function tokenIn(body: string): string | undefined {
  return /name="form_token" value="([^"]+)"/.exec(body)?.[1]
}

/** What pages of the console, and forms that lead to one, read from an address or from a field; with some that they must not. */
export const parameterNames: readonly string[] = [
  ...['q', 'after', 'app', 'person', 'device', 'file', 'show', 'run', 'period', 'status'],
  ...['tag', 'event', 'from', 'to', 'since', 'until', 'sensitivity', 'health', 'confirm', 'subject'],
  ...['name', 'path', 'method', 'url', 'in', 'draft', 'version', 'return_to', 'form_page', 'notice'],
  ...['format', 'request', 'who', 'id', 'result', 'reason'],
]

export interface ApiOperation {
  readonly method: string
  /** Below `/api/v1`. */
  readonly path: string
  readonly id: string
}

/** Every operation, by the description that the API hands out. */
export async function listApiOperations(desk: Desk): Promise<readonly ApiOperation[]> {
  const { body } = await desk.api('GET', '/openapi.json', undefined)
  const { paths } = JSON.parse(body) as { readonly paths: Readonly<Record<string, Readonly<Record<string, { operationId?: string }>>>> }
  return Object.entries(paths).flatMap(([path, methods]) =>
    Object.entries(methods).flatMap(([method, { operationId }]) =>
      operationId === undefined ? [] : [{ method: method.toUpperCase(), path: path.replace(/^\/api\/v1/, ''), id: operationId }],
    ),
  )
}
