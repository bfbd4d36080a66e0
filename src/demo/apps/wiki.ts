/**
 * The demo's wiki: pages with forms, uploads and downloads. An app of the plain kind, without any script.
 *
 * It trusts the identity headers, and so must be reachable through Postern alone. Who may write is not its business: the
 * policy lets contractors read and refuses their forms before they get here. Files live in a folder of their own under random
 * names, and leave only as downloads, so that an uploaded page can never run as a page of this wiki.
 */

import { createReadStream } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import type { IncomingMessage, ServerResponse } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { pipeline } from 'node:stream/promises'
import { type AppTarget, type RunningApp, readBody, sendRedirect, sendText, startAppServer } from './app-server.ts'
import { displayName, readIdentity } from './identity.ts'
import { type MultipartForm, readMultipart, type UploadedFile } from './multipart.ts'
import { seedPages } from './wiki-content.ts'
import { sendEditor, sendFrontPage, sendMissing, sendPageView, sendSearch } from './wiki-pages.ts'
import { slugOf } from './wiki-text.ts'

export interface WikiOptions {
  readonly host?: string | undefined
  /** Where uploads go. A temporary folder, removed at the end, if not given. */
  readonly folder?: string | undefined
  readonly now: () => number
}

export interface WikiFile extends UploadedFile {
  readonly id: number
  readonly by: string
  readonly at: number
}

export interface WikiPage {
  readonly slug: string
  readonly title: string
  readonly text: string
  readonly by: string
  readonly at: number
  readonly files: readonly WikiFile[]
}

const maxTextBytes = 256 * 1024
const maxFileBytes = 8 * 1024 ** 3
const maxPages = 1000

/** Starts the wiki with a few pages in it. */
export async function startWiki(port: number, options: WikiOptions): Promise<RunningApp> {
  const folder = options.folder ?? (await mkdtemp(join(tmpdir(), 'postern-wiki-')))
  const pages = new Map<string, WikiPage>()
  let lastFileId = 0
  for (const { title, author, minutesAgo, text } of seedPages) {
    const slug = slugOf(title)
    pages.set(slug, { slug, title, text, by: author, at: options.now() - minutesAgo * 60_000, files: [] })
  }

  async function handle(request: IncomingMessage, response: ServerResponse, target: AppTarget): Promise<void> {
    const identity = readIdentity(request)
    const [first, slug = '', third, fileId] = target.segments
    const isRead = request.method === 'GET' || request.method === 'HEAD'
    const page = first === 'pages' ? pages.get(slug) : undefined
    if (isRead) {
      if (first === undefined) return sendFrontPage(response, identity, [...pages.values()])
      if (first === 'search') return sendSearch(response, identity, { query: target.query.get('q') ?? '', pages: [...pages.values()] })
      if (first === 'new') return sendEditor(response, identity, { title: target.query.get('title') ?? '' })
      if (page === undefined) return sendMissing(response, identity, first === 'pages' ? slug : undefined)
      if (third === undefined) return sendPageView(response, identity, page)
      if (third === 'edit') return sendEditor(response, identity, { page })
      const file = third === 'files' ? page.files.find(({ id }) => String(id) === fileId) : undefined
      return file === undefined ? sendMissing(response, identity) : sendFile(request, response, file)
    }
    if (request.method !== 'POST' || first !== 'pages') return sendMissing(response, identity)
    const by = identity?.email ?? displayName(identity)
    if (target.segments.length === 1) return createPage(request, response, by)
    if (page === undefined) return sendMissing(response, identity)
    if (third === undefined) return changePage(request, response, { page, by })
    if (third === 'files') return attachFiles(request, response, { page, by })
    return sendMissing(response, identity)
  }

  /** A new page comes as multipart, because a file may come with it. */
  async function createPage(request: IncomingMessage, response: ServerResponse, by: string): Promise<void> {
    const form = await readForm(request, response)
    if (form === undefined) return
    const title = (form.fields.get('title') ?? '').trim().slice(0, 120)
    const slug = slugOf(title)
    if (slug === '' || pages.has(slug) || pages.size >= maxPages) {
      await Promise.all(form.files.map(({ path }) => rm(path, { force: true })))
      return sendText(
        response,
        409,
        slug === '' ? 'A page needs a title with letters or digits.' : 'There is a page with that title already.',
      )
    }
    pages.set(slug, { slug, title, text: form.fields.get('text') ?? '', by, at: options.now(), files: adopt(form, by) })
    sendRedirect(response, `/pages/${slug}`)
  }

  async function changePage(request: IncomingMessage, response: ServerResponse, change: { page: WikiPage; by: string }): Promise<void> {
    let body: string
    try {
      body = await readBody(request, maxTextBytes * 3)
    } catch {
      return sendText(response, 413, 'That text is too long.')
    }
    const text = new URLSearchParams(body).get('text')
    if (text === null) return sendText(response, 400, 'The form had no text.')
    pages.set(change.page.slug, { ...change.page, text: text.slice(0, maxTextBytes), by: change.by, at: options.now() })
    sendRedirect(response, `/pages/${change.page.slug}`)
  }

  async function attachFiles(request: IncomingMessage, response: ServerResponse, change: { page: WikiPage; by: string }): Promise<void> {
    const form = await readForm(request, response)
    if (form === undefined) return
    const added = adopt(form, change.by)
    // Looked up again: somebody may have changed the page while a large file was arriving.
    const page = pages.get(change.page.slug) ?? change.page
    pages.set(page.slug, { ...page, files: [...page.files, ...added] })
    sendRedirect(response, `/pages/${page.slug}#files`)
  }

  function adopt(form: MultipartForm, by: string): readonly WikiFile[] {
    return form.files.map((file) => {
      lastFileId += 1
      return { ...file, id: lastFileId, by, at: options.now() }
    })
  }

  async function readForm(request: IncomingMessage, response: ServerResponse): Promise<MultipartForm | undefined> {
    try {
      return await readMultipart(request, { folder, fieldBytes: maxTextBytes, fileBytes: maxFileBytes, parts: 20 })
    } catch {
      if (!response.destroyed) sendText(response, 400, 'That form could not be read.')
      return undefined
    }
  }

  const { app } = await startAppServer({
    port,
    host: options.host,
    handle,
    onClose: async () => {
      if (options.folder === undefined) await rm(folder, { recursive: true, force: true })
    },
  })
  return app
}

async function sendFile(request: IncomingMessage, response: ServerResponse, file: WikiFile): Promise<void> {
  // RFC 6266: a plain name for old readers, the real one encoded.
  const plain = file.name.replace(/[^\w .-]/g, '_')
  const encoded = encodeURIComponent(file.name).replace(/['()*]/g, (character) => `%${character.charCodeAt(0).toString(16).toUpperCase()}`)
  response.writeHead(200, {
    'Content-Type': 'application/octet-stream',
    'Content-Length': file.bytes,
    'Content-Disposition': `attachment; filename="${plain}"; filename*=UTF-8''${encoded}`,
    'X-Content-Type-Options': 'nosniff',
    'Cache-Control': 'private, no-store',
  })
  if (request.method === 'HEAD') {
    response.end()
    return
  }
  await pipeline(createReadStream(file.path), response).catch(() => {
    // The client left, or the disk failed in mid-body: the connection is destroyed, which no client takes for a whole file.
  })
}
