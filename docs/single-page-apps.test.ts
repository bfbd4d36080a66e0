/** What is said to developers of single-page apps is so: examples parse and work, and every name is the script's own. */

import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { createContext, runInContext, Script } from 'node:vm'
import { describe, expect, it } from 'vitest'
import { parse } from 'yaml'

const read = (...path: string[]) => readFileSync(join(import.meta.dirname, '..', ...path), 'utf8')
const page = read('docs', 'single-page-apps.md')
const script = read('views', 'assets', 'renew.js')
const stylesheet = read('views', 'assets', 'renew.css')

function examples(language: string): string[] {
  return [...page.matchAll(new RegExp(`^\`\`\`${language}\\n([\\s\\S]*?)^\`\`\``, 'gm'))].map(([, code = '']) => code)
}

const unique = (matches: Iterable<RegExpMatchArray>) => [...new Set([...matches].map(([, name = '']) => name))].sort()

describe('the examples', () => {
  it('parse', () => {
    expect(examples('js').length).toBeGreaterThanOrEqual(5)
    for (const code of examples('js')) expect(() => new Script(`(async () => {${code}})`)).not.toThrow()
    for (const code of examples('yaml')) expect(parse(code)).toHaveProperty('apps')
    // What an answer really has is held by the tests of the responder; here only that it is one.
    for (const code of examples('json')) expect(JSON.parse(code)).toHaveProperty('request_id')
  })

  it('for fetch sends what the page says, and says what was refused', async () => {
    const calls: unknown[] = []
    const postern = {
      fetch: async (...given: unknown[]) => {
        calls.push(given)
        return new Response('{"error":"x"}', { status: 403, headers: { 'x-postern': 'no_rule_matched' } })
      },
    }
    const context = createContext({ postern, JSON, Error })
    runInContext(`${examples('js').find((code) => code.includes('async function save')) ?? ''}; globalThis.save = save`, context)
    const { save } = context as { save: (text: string) => Promise<unknown> }
    await expect(save('hello')).rejects.toThrow('not saved: no_rule_matched')
    expect(calls).toMatchObject([['/notes', { method: 'POST', body: '{"text":"hello"}' }]])
  })

  it('for axios makes the call once more after a renewal, and only once', async () => {
    let onError: (error: unknown) => Promise<unknown> = () => Promise.reject(new Error('no interceptor'))
    const sent: { isSecondTry?: boolean }[] = []
    const send = async (config: object) => {
      sent.push(config)
      return 'again'
    }
    const use = (_: undefined, given: typeof onError) => {
      onError = given
    }
    const axios = Object.assign(send, { interceptors: { response: { use } } })
    let mayGoOn = true
    const postern = { renew: async () => mayGoOn }
    runInContext(examples('js').find((code) => code.includes('interceptors')) ?? '', createContext({ axios, postern }))
    const refused = (config: object, headers = { 'x-postern': 'session_ended' }) => ({ config, response: { status: 401, headers } })
    expect(await onError(refused({ url: '/x' }))).toBe('again')
    expect(sent).toEqual([{ url: '/x', isSecondTry: true }])
    await expect(onError(refused({ isSecondTry: true }))).rejects.toMatchObject({ response: { status: 401 } })
    await expect(onError(refused({}, {} as never))).rejects.toMatchObject({ response: { status: 401 } })
    mayGoOn = false
    await expect(onError(refused({}))).rejects.toMatchObject({ response: { status: 401 } })
  })
})

describe('the names', () => {
  it('of events are those that the script dispatches', () => {
    expect(unique(page.matchAll(/^\| `postern:([a-z]+)`/gm))).toEqual(
      unique(script.matchAll(/tell\(\s*(?:isOpen \? )?'([a-z]+)'(?: : '[a-z]+')?/g))
        .concat('blocked')
        .sort(),
    )
  })

  it('of classes are those that the script sets and the stylesheet has a look for', () => {
    const named = unique(page.matchAll(/`\.(postern-banner[a-z-]*)`/g))
    expect(named).toHaveLength(7)
    for (const name of named) {
      expect(script).toContain(name.replace(/^postern-banner-(?:ended|step-up|idle|text|action|close)$/, 'postern-banner-'))
    }
    for (const name of unique(stylesheet.matchAll(/\.(postern-[a-z-]+)/g))) expect(named).toContain(name)
  })

  it('of attributes and calls are those that the script reads and offers', () => {
    for (const name of unique(page.matchAll(/^\| `data-([a-z]+)`/gm)))
      expect(script).toMatch(new RegExp(`\\b${name}\\b.* = own\\.dataset|${name}: \\w+ = .*own\\.dataset`))
    for (const name of unique(page.matchAll(/^\| `postern\.(\w+)/gm))) expect(script).toMatch(new RegExp(`^ {4}${name}(?::|,)`, 'm'))
  })
})

it('the script needs no more of a Content Security Policy than the page says', () => {
  expect(script).not.toMatch(
    /\beval\b|new Function|\.innerHTML|\.outerHTML|insertAdjacentHTML|document\.write|\.style\b|setAttribute\('style'/,
  )
})
