/**
 * The wiki's pages as markup.
 */

import type { ServerResponse } from 'node:http'
import { html, type Markup } from '../markup.ts'
import { sendPage } from './app-server.ts'
import type { Identity } from './identity.ts'
import { renderPage, renderTime } from './layout.ts'
import type { WikiPage } from './wiki.ts'
import { renderWikiText } from './wiki-text.ts'

/** All pages, newest change first, and the search field. */
export function sendFrontPage(response: ServerResponse, identity: Identity | undefined, pages: readonly WikiPage[]): void {
  const content = html`<div class="title"><h1>Wiki</h1><a class="button primary" href="/new">New page</a></div>
    ${searchForm('')}
    ${pageList(pages)}`
  send(response, identity, { title: 'Pages', content })
}

/** Pages whose title or text has every word of the query. */
export function sendSearch(
  response: ServerResponse,
  identity: Identity | undefined,
  search: { readonly query: string; readonly pages: readonly WikiPage[] },
): void {
  const words = search.query.toLowerCase().split(/\s+/).filter(Boolean).slice(0, 10)
  const found = search.pages.filter((page) => words.every((word) => `${page.title}\n${page.text}`.toLowerCase().includes(word)))
  const content = html`<h1>Search</h1>
    ${searchForm(search.query)}
    <p role="status">${found.length === 1 ? 'One page' : `${found.length} pages`} found.</p>
    ${pageList(found)}`
  send(response, identity, { title: 'Search', content })
}

/** One page with its files. */
export function sendPageView(response: ServerResponse, identity: Identity | undefined, page: WikiPage): void {
  const content = html`<div class="title"><h1>${page.title}</h1><a class="button" href="/pages/${page.slug}/edit">Edit</a></div>
    <p class="soft">Last changed by ${page.by}, ${renderTime(page.at)} UTC</p>
    <article class="prose">${renderWikiText(page.text)}</article>
    <section class="card" aria-labelledby="files">
      <h2 id="files">Files</h2>
      ${
        page.files.length === 0
          ? html`<p class="soft">Nothing attached yet.</p>`
          : html`<ul class="rows">${page.files.map(
              (file) =>
                html`<li><a href="/pages/${page.slug}/files/${file.id}" download>${file.name}</a>
                <span class="soft">${formatBytes(file.bytes)}, ${file.by}, ${renderTime(file.at)}</span></li>`,
            )}</ul>`
      }
      <form class="inline" method="post" action="/pages/${page.slug}/files" enctype="multipart/form-data">
        <label>Add a file <input type="file" name="file" required></label>
        <button class="button">Upload</button>
      </form>
    </section>`
  send(response, identity, { title: page.title, content })
}

/** The form for a new page (which may bring a file), or for an existing one. */
export function sendEditor(
  response: ServerResponse,
  identity: Identity | undefined,
  editing: { readonly page?: WikiPage; readonly title?: string },
): void {
  const { page } = editing
  const hint = html`<p class="soft" id="hint"><code># heading</code> · <code>- list</code> · <code>**bold**</code> · <code>[[Page]]</code></p>`
  const content =
    page === undefined
      ? html`<h1>New page</h1>
      <form class="stack" method="post" action="/pages" enctype="multipart/form-data">
        <label>Title <input name="title" required maxlength="120" value="${editing.title}"></label>
        <label>Text <textarea name="text" rows="14" aria-describedby="hint"></textarea></label>
        ${hint}
        <label>File, if there is one <input type="file" name="file"></label>
        <p><button class="button primary">Create page</button> <a class="button quiet" href="/">Cancel</a></p>
      </form>`
      : html`<h1>Edit “${page.title}”</h1>
      <form class="stack" method="post" action="/pages/${page.slug}">
        <label>Text <textarea name="text" rows="18" aria-describedby="hint">
${page.text}</textarea></label>
        ${hint}
        <p><button class="button primary">Save</button> <a class="button quiet" href="/pages/${page.slug}">Cancel</a></p>
      </form>`
  send(response, identity, { title: page === undefined ? 'New page' : `Edit ${page.title}`, content })
}

/** 404, with an offer to write the page if its address could be one. */
export function sendMissing(response: ServerResponse, identity: Identity | undefined, slug?: string): void {
  const title = slug?.replaceAll('-', ' ')
  const content = html`<h1>There is no such page</h1>
    <p><a href="/">All pages</a>${title === undefined ? undefined : html` · <a href="/new?title=${encodeURIComponent(title)}">Write “${title}”</a>`}</p>`
  send(response, identity, { title: 'Not found', content, status: 404 })
}

function searchForm(query: string): Markup {
  return html`<form class="search" role="search" action="/search">
      <label class="hidden" for="q">Search the wiki</label>
      <input id="q" type="search" name="q" value="${query}" placeholder="Search titles and text">
      <button class="button">Search</button>
    </form>`
}

function pageList(pages: readonly WikiPage[]): Markup {
  const newestFirst = [...pages].sort((a, b) => b.at - a.at)
  return html`<ul class="rows card">${newestFirst.map(
    (page) => html`<li><a href="/pages/${page.slug}"><strong>${page.title}</strong></a>
      <span class="soft">${page.by}, ${renderTime(page.at)}${page.files.length === 0 ? undefined : ` · ${page.files.length} attached`}</span></li>`,
  )}</ul>`
}

function formatBytes(bytes: number): string {
  if (bytes < 1024) return `${bytes} bytes`
  const units = ['KiB', 'MiB', 'GiB']
  let value = bytes / 1024
  let unit = 0
  while (value >= 1024 && unit < units.length - 1) {
    value /= 1024
    unit += 1
  }
  return `${value.toFixed(value < 10 ? 1 : 0)} ${units[unit] ?? ''}`
}

function send(
  response: ServerResponse,
  identity: Identity | undefined,
  page: { readonly title: string; readonly content: Markup; readonly status?: number },
): void {
  const frame = {
    app: { id: 'wiki', name: 'Wiki', mark: 'W' } as const,
    title: page.title,
    identity,
    navigation: [
      { href: '/', label: 'Pages' },
      { href: '/new', label: 'New page' },
    ],
  }
  sendPage(response, page.status ?? 200, renderPage(frame, page.content))
}
