/**
 * The wiki's little markup: `# headings`, `- lists`, blank lines between paragraphs, `**bold**`, `` `code` `` and `[[Page]]` links.
 *
 * Text goes through `html` piece by piece, so what somebody wrote never becomes markup of its own.
 */

import { html, type Markup } from '../markup.ts'

/** The address part of a page's title: `On call` becomes `on-call`. Empty if nothing of it is left. */
export function slugOf(title: string): string {
  return title
    .toLowerCase()
    .normalize('NFKD')
    .replace(/[^a-z0-9]+/g, '-')
    .replace(/^-+|-+$/g, '')
    .slice(0, 60)
}

/** A page's text as markup. */
export function renderWikiText(text: string): Markup {
  return html`${text
    .replace(/\r\n?/g, '\n')
    .split(/\n{2,}/)
    .filter((block) => block.trim() !== '')
    .map(renderBlock)}`
}

function renderBlock(block: string): Markup {
  const lines = block.split('\n').filter((line) => line.trim() !== '')
  const heading = /^(#{1,3}) (.*)$/.exec(lines[0] ?? '')
  if (heading !== null) {
    const rest = lines.slice(1)
    const title = heading[1] === '#' ? html`<h2>${renderLine(heading[2] ?? '')}</h2>` : html`<h3>${renderLine(heading[2] ?? '')}</h3>`
    return rest.length === 0 ? title : html`${title}${renderBlock(rest.join('\n'))}`
  }
  if (lines.every((line) => line.startsWith('- ')))
    return html`<ul>${lines.map((line) => html`<li>${renderLine(line.slice(2))}</li>`)}</ul>`
  return html`<p>${lines.map((line, index) => html`${index > 0 ? html`<br>` : undefined}${renderLine(line)}`)}</p>`
}

function renderLine(line: string): Markup {
  const pieces = line.split(/(\*\*[^*]+\*\*|`[^`]+`|\[\[[^\]]+\]\])/)
  return html`${pieces.map((piece) => {
    if (piece.startsWith('**') && piece.length > 4) return html`<strong>${piece.slice(2, -2)}</strong>`
    if (piece.startsWith('`') && piece.length > 2) return html`<code>${piece.slice(1, -1)}</code>`
    if (piece.startsWith('[[') && piece.length > 4) return html`<a href="/pages/${slugOf(piece.slice(2, -2))}">${piece.slice(2, -2)}</a>`
    return html`${piece}`
  })}`
}
