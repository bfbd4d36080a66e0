/**
 * A single-page app and the API that it calls, as one would write them: a form whose text must not be lost, and calls that name nobody.
 *
 * One server plays both. Pages differ only in what they include and allow: `/` includes `renew.js`, `/strict` as well but forbids frames, `/careful` allows what a test says,
 * `/bare` nothing. The server writes down what reaches it, which is how tests know what Postern let through.
 */

import { createServer, type IncomingHttpHeaders, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'

export interface SinglePageApp {
  readonly origin: string
  readonly seen: { readonly method: string; readonly host: string; readonly path: string; readonly headers: IncomingHttpHeaders }[]
  /** Origin whose pages the API answers (its own CORS); set once it is known. */
  allowOrigin: string
  /** The policy of `/careful`. */
  carefulPolicy: string
  close(): Promise<void>
}

const script = `
const text = document.querySelector('#text')
const result = document.querySelector('#result')
window.events = []
for (const name of ['renewing', 'renewed', 'failed', 'popup', 'blocked', 'warning', 'reloading']) {
  document.addEventListener('postern:' + name, ({ detail }) => window.events.push({ name, ...detail }))
}
async function save() {
  result.textContent = 'saving'
  try {
    const answer = await fetch('/save', { method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify({ text: text.value }) })
    const { by, got, error } = await answer.json()
    result.textContent = answer.ok ? by + ' saved ' + got : answer.status + ' ' + error
  } catch (error) {
    result.textContent = String(error)
  }
}
function saveByXhr() {
  const request = new XMLHttpRequest()
  request.open('POST', '/save')
  request.setRequestHeader('content-type', 'application/json')
  request.onload = () => {
    result.textContent = request.status + ' ' + (JSON.parse(request.responseText).got ?? '')
  }
  request.send(JSON.stringify({ text: text.value }))
}
document.querySelector('#save').addEventListener('click', save)
document.querySelector('#xhr').addEventListener('click', saveByXhr)
addEventListener('storage', ({ key }) => key === 'save' && save())
`

/** Starts it on a free port. */
export async function startSinglePageApp(): Promise<SinglePageApp> {
  const app = { origin: '', allowOrigin: '', carefulPolicy: '', seen: [] as SinglePageApp['seen'], close: async () => {} }
  const server = createServer((request, response) => void answer(app, request, response))
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  app.origin = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  app.close = async () => {
    server.closeAllConnections()
    await new Promise<void>((resolve) => server.close(() => resolve()))
  }
  return app
}

async function answer(app: SinglePageApp, request: IncomingMessage, response: ServerResponse): Promise<void> {
  const { method = '', url = '/', headers } = request
  const path = url.split('?')[0] ?? url
  app.seen.push({ method, host: headers.host ?? '', path, headers })
  const body = await readBody(request)
  if (headers.origin === app.allowOrigin && app.allowOrigin !== '') {
    response.setHeader('access-control-allow-origin', app.allowOrigin)
    response.setHeader('access-control-allow-credentials', 'true')
    response.setHeader('vary', 'Origin')
  }
  if (method === 'OPTIONS') {
    response.setHeader('access-control-allow-methods', 'GET, POST, PUT')
    response.setHeader('access-control-allow-headers', 'content-type')
    response.writeHead(204).end()
  } else if (path === '/app.js') {
    response.writeHead(200, { 'content-type': 'text/javascript' }).end(script)
  } else if (path === '/save' || path.startsWith('/api/')) {
    const text = body === '' ? undefined : (JSON.parse(body) as { text?: string }).text
    response.writeHead(200, { 'content-type': 'application/json' })
    response.end(JSON.stringify({ by: headers['x-forwarded-user'] ?? null, got: text ?? null }))
  } else {
    const policies: Readonly<Record<string, string>> = { '/strict': "default-src 'self'; frame-src 'none'", '/careful': app.carefulPolicy }
    const policy = policies[path] === undefined ? {} : { 'content-security-policy': policies[path] }
    response.writeHead(200, { 'content-type': 'text/html; charset=utf-8', ...policy }).end(pageOf(path !== '/bare'))
  }
}

function pageOf(includesRenewal: boolean): string {
  return `<!doctype html><html lang="en"><head><title>Notes</title>
${includesRenewal ? '<script src="/.postern/renew.js" data-wrap="fetch xhr"></script>' : ''}</head>
<body><form><textarea id="text"></textarea></form><button id="save">Save</button><button id="xhr">Save by XHR</button><p id="result"></p>
<script src="/app.js" defer></script></body></html>`
}

async function readBody(request: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = []
  for await (const chunk of request) chunks.push(chunk as Buffer)
  return Buffer.concat(chunks).toString('utf8')
}
