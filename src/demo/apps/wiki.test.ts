/**
 * The wiki over real HTTP, with the headers that Postern would send.
 */

import { createHash, randomBytes } from 'node:crypto'
import { mkdtemp, readdir, rm } from 'node:fs/promises'
import { Agent, request as sendRequest } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { RunningApp } from './app-server.ts'
import { startWiki } from './wiki.ts'

const alice = { 'x-forwarded-user': 'alice', 'x-forwarded-email': 'alice@corp.example', 'x-forwarded-groups': 'engineering,postern-admins' }
let wiki: RunningApp
let folder: string

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'wiki-test-'))
  wiki = await startWiki(0, { folder, now: Date.now })
})

afterAll(async () => {
  await wiki.close()
  await rm(folder, { recursive: true, force: true })
})

describe('the wiki', () => {
  it('shows who is signed in, as UTF-8', async () => {
    const name = Buffer.from('zoë@corp.example', 'utf8').toString('latin1')
    const page = await get('/', { ...alice, 'x-forwarded-email': name })
    expect(page).toContain('zoë@corp.example')
    expect(page).toContain('engineering, postern-admins')
    expect(await get('/', {})).toContain('Nobody is signed in')
  })

  it('saves a page and names its author', async () => {
    const answer = await post('/pages/on-call', new URLSearchParams({ text: '# News\n\nThe pager is **blue** now.' }))
    expect(answer.status).toBe(303)
    const page = await get(answer.headers.get('location') ?? '', alice)
    expect(page).toContain('<h2>News</h2>')
    expect(page).toContain('<strong>blue</strong>')
    expect(page).toContain('Last changed by alice@corp.example')
  })

  it('prints what people write as text, wherever it stands', async () => {
    const attack = `"><script>alert(1)</script><img src=x onerror='alert(2)'>`
    const form = new FormData()
    form.set('title', `Hole ${attack}`)
    form.set('text', `# ${attack}\n\n- ${attack}\n\n[[${attack}]] **${attack}**`)
    form.set('file', new File(['x'], `${attack}.html`))
    const created = await post('/pages', form)
    const slug = created.headers.get('location') ?? ''
    for (const path of [slug, `${slug}/edit`, '/', `/search?q=${encodeURIComponent(attack)}`, `/pages/${encodeURIComponent(attack)}`]) {
      const page = await get(path, { ...alice, 'x-forwarded-groups': attack })
      expect(page).toContain('&lt;script&gt;')
      expect(page).not.toMatch(/<script>|<img/)
    }
  })

  it('gives back the very bytes of a file, as a download that no browser runs', async () => {
    const content = randomBytes(9_000_011)
    const form = new FormData()
    form.set('file', new File([content], 'Bilanz “2026” – Entwurf.html', { type: 'text/html' }))
    expect((await post('/pages/welcome/files', form)).status).toBe(303)
    const page = await get('/pages/welcome', alice)
    const path = /href="(\/pages\/welcome\/files\/\d+)" download/.exec(page)?.[1] ?? ''
    expect(page).toContain('8.6 MiB')
    const file = await fetch(wiki.origin + path, { headers: alice })
    expect(file.headers.get('content-type')).toBe('application/octet-stream')
    expect(file.headers.get('x-content-type-options')).toBe('nosniff')
    expect(file.headers.get('content-disposition')).toContain("filename*=UTF-8''Bilanz%20%E2%80%9C2026")
    expect(file.headers.get('content-length')).toBe(String(content.length))
    expect(sha256(Buffer.from(await file.arrayBuffer()))).toBe(sha256(content))
    const head = await fetch(wiki.origin + path, { method: 'HEAD', headers: alice })
    expect(head.headers.get('content-length')).toBe(String(content.length))
  })

  it('finds the boundary of a part however the bytes are cut', async () => {
    const content = '\r\n--edge\r-\n--edge--x\r\n--edg'
    const body = `--edge42\r\nContent-Disposition: form-data; name="file"; filename="C:\\\\tmp\\\\cut.txt"\r\n\r\n${content}\r\n--edge42--\r\nepilogue`
    for (const size of [1, 2, 3, 7]) {
      const status = await postPieces('/pages/release-checklist/files', 'multipart/form-data; boundary=edge42', pieces(body, size))
      expect(status).toBe(303)
    }
    const page = await get('/pages/release-checklist', alice)
    const paths = [...page.matchAll(/href="(\/pages\/release-checklist\/files\/\d+)" download>([^<]+)</g)]
    expect(paths.map((match) => match[2])).toEqual(['cut.txt', 'cut.txt', 'cut.txt', 'cut.txt'])
    for (const match of paths) expect(await get(match[1] ?? '', alice)).toBe(content)
  })

  it('keeps nothing of a form that ends too early, has no boundary or too many parts', async () => {
    const before = await readdir(folder)
    const part = '--edge\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\nabc\r\n'
    expect(await postPieces('/pages/welcome/files', 'multipart/form-data; boundary=edge', [part])).toBe(400)
    expect(await postPieces('/pages/welcome/files', 'text/plain', [part])).toBe(400)
    expect(await postPieces('/pages/welcome/files', 'multipart/form-data; boundary=edge', [`${part.repeat(21)}--edge--`])).toBe(400)
    expect(await postPieces('/pages/welcome/files', 'multipart/form-data; boundary=edge', ['x'.repeat(1_000_000)])).toBe(400)
    expect(await readdir(folder)).toEqual(before)
  })

  it('keeps nothing of an upload whose sender leaves', async () => {
    const before = await readdir(folder)
    const request = sendRequest(`${wiki.origin}/pages/welcome/files`, {
      method: 'POST',
      headers: { ...alice, 'content-type': 'multipart/form-data; boundary=edge' },
    })
    request.on('error', () => {})
    request.write('--edge\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n')
    request.write(randomBytes(200_000))
    await waitUntil(async () => (await readdir(folder)).length > before.length)
    request.destroy()
    await waitUntil(async () => (await readdir(folder)).length === before.length)
  })

  it('refuses a second page of the same title, and text that is too long', async () => {
    const form = new FormData()
    form.set('title', 'ON call!')
    expect((await post('/pages', form)).status).toBe(409)
    expect((await post('/pages/welcome', new URLSearchParams({ text: 'x'.repeat(900_000) }))).status).toBe(413)
  })

  it('finds pages by all words of a query', async () => {
    expect(await get('/search?q=pager%20blame', alice)).toMatch(/(One page|0 pages) found/)
    expect(await get('/search?q=hotels%20receipts', alice)).toContain('Travel and expenses')
    expect(await get('/search?q=nothingofthekind', alice)).toContain('0 pages found')
  })

  it('answers malformed addresses and unknown pages', async () => {
    expect((await fetch(`${wiki.origin}/pages/%E0%A4`)).status).toBe(400)
    expect((await fetch(`${wiki.origin}/pages/no-such-page`)).status).toBe(404)
    expect((await fetch(`${wiki.origin}/pages/welcome/files/99`)).status).toBe(404)
    expect((await fetch(`${wiki.origin}/pages/welcome`, { method: 'DELETE' })).status).toBe(404)
  })
})

async function get(path: string, headers: Record<string, string>): Promise<string> {
  return await (await fetch(wiki.origin + path, { headers })).text()
}

function post(path: string, body: FormData | URLSearchParams): Promise<Response> {
  return fetch(wiki.origin + path, { method: 'POST', headers: alice, body, redirect: 'manual' })
}

function postPieces(path: string, type: string, sent: readonly string[]): Promise<number> {
  return new Promise((resolve, reject) => {
    const agent = new Agent({ keepAlive: true, maxSockets: 1 })
    const request = sendRequest(wiki.origin + path, { agent, method: 'POST', headers: { ...alice, 'content-type': type } }, (response) => {
      response.resume()
      // Whatever the answer, the connection must not be left waiting: the next request on it is answered.
      const next = sendRequest(wiki.origin, { agent, headers: alice }, (answer) => {
        answer.resume()
        answer.on('end', () => agent.destroy())
        resolve(response.statusCode ?? 0)
      })
      next.on('error', reject)
      next.end()
    })
    request.setNoDelay(true)
    request.on('error', reject)
    for (const piece of sent) request.write(piece)
    request.end()
  })
}

function pieces(text: string, size: number): readonly string[] {
  return Array.from({ length: Math.ceil(text.length / size) }, (_none, index) => text.slice(index * size, (index + 1) * size))
}

function sha256(bytes: Buffer): string {
  return createHash('sha256').update(bytes).digest('hex')
}

async function waitUntil(isSo: () => Promise<boolean>): Promise<void> {
  await expect.poll(isSo, { timeout: 5000, interval: 10 }).toBe(true)
}
