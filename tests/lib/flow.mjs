// The flows that a person would do by hand, once for Playwright and once for Puppeteer. Each step asserts what it sees.
import assert from 'node:assert/strict';
import crypto from 'node:crypto';

import { DOWNLOAD, DOWNLOAD_NAME, PASSWORD, SCRIPTS_TEXT } from './sites.mjs';

export const sha256 = (data) => crypto.createHash('sha256').update(data).digest('hex');

/** Signs in to a site; afterwards its account page names the user. */
export async function signIn(page, base, user) {
  await page.goto(`${base}/login`);
  await page.fill('#user', user);
  await page.fill('#password', PASSWORD);
  await Promise.all([page.waitForURL(`${base}/account`), page.click('#go')]);
  assert.equal(await page.textContent('#who'), user);
}

/** Who a site takes this browser for. */
export async function whoAmI(page, base) {
  await page.goto(`${base}/account`);
  return page.textContent('#who');
}

export async function saveNotes(page, base) {
  await page.goto(`${base}/storage`);
  await page.click('#save');
  await page.waitForFunction(() => document.querySelector('#local').textContent === 'saved');
}

/** {local, db} as the page finds them. */
export async function loadNotes(page, base) {
  await page.goto(`${base}/storage`);
  await page.click('#load');
  await page.waitForFunction(() => document.querySelector('#db').textContent !== '');
  return { local: await page.textContent('#local'), db: await page.textContent('#db') };
}

async function popupAndFrame(page, base, other) {
  await page.goto(`${base}/popup`);
  const [popup] = await Promise.all([page.waitForEvent('popup'), page.click('#open')]);
  await popup.waitForLoadState();
  assert.match(await popup.title(), /^Popped up at /);
  assert.equal(new URL(popup.url()).origin, other);
  await Promise.all([popup.waitForEvent('close'), popup.click('#close')]);

  await page.goto(`${base}/frame`);
  const frame = page.frameLocator('#inner');
  await frame.locator('#say').click();
  await page.waitForFunction(() => document.querySelector('#heard').textContent !== '');
  assert.equal(await page.textContent('#heard'), `${other} hello from inside`);
}

async function uploadAndDownload(page, base, fetchDownload) {
  const data = crypto.randomBytes(200000);
  await page.goto(`${base}/upload`);
  await page.setInputFiles('#file', { name: 'photo.raw', mimeType: 'application/octet-stream', buffer: data });
  await Promise.all([page.waitForURL(`${base}/upload`), page.waitForSelector('#digest'), page.click('#send')]);
  assert.equal(await page.textContent('#name'), 'photo.raw');
  assert.equal(await page.textContent('#digest'), sha256(data));

  await page.goto(`${base}/downloads`);
  const [download] = await Promise.all([page.waitForEvent('download'), page.click('#get')]);
  assert.equal(download.suggestedFilename(), DOWNLOAD_NAME);
  assert.equal(await download.failure(), null);
  const got = await fetchDownload(download);
  assert.equal(got.length, DOWNLOAD.length);
  assert.equal(sha256(got), sha256(DOWNLOAD));
}

/**
 * The whole flow in one page with Playwright over two sites. base and other: origins ("https://shop.test").
 * fetchDownload(download) gives the bytes of a finished download.
 */
export async function playwrightFlow(page, { base, other, user, fetchDownload }) {
  await signIn(page, base, user);
  await signIn(page, other, `${user}2`);
  assert.equal(await whoAmI(page, base), user);
  await saveNotes(page, base);
  assert.deepEqual(await loadNotes(page, base), { local: 'saffron', db: 'remember the milk' });
  assert.deepEqual(await loadNotes(page, other), { local: 'none', db: 'none' });

  await page.goto(`${base}/form`);
  await page.fill('#what', 'Grüße 日本 🦊');
  await page.selectOption('#how', 'two');
  await page.check('#gift');
  await page.click('#order');
  await page.waitForFunction(() => document.querySelector('#out').textContent !== '');
  assert.equal(await page.textContent('#out'), 'got Grüße 日本 🦊|two|true');

  await popupAndFrame(page, base, other);
  await uploadAndDownload(page, base, fetchDownload);

  await page.goto(`${base}/socket`);
  await page.waitForFunction(() => document.querySelector('#log').textContent.split('\n').length === 3);
  assert.equal(await page.textContent('#log'), 'echo: hello\nlong 70006\n');

  await page.goto(`${base}/world`);
  assert.equal(await page.textContent('#words'), SCRIPTS_TEXT);
}

/** Puppeteer's version of the main job: sign in, storage, popup, frame, an upload from the guest's folder. */
export async function puppeteerFlow(browser, page, { base, other, user, upload }) {
  await page.goto(`${base}/login`);
  await page.type('#user', user);
  await page.type('#password', PASSWORD);
  await Promise.all([page.waitForNavigation(), page.click('#go')]);
  assert.equal(await page.$eval('#who', (e) => e.textContent), user);

  await page.goto(`${base}/storage`);
  await page.click('#save');
  await page.waitForFunction(() => document.querySelector('#local').textContent === 'saved');
  await page.click('#load');
  await page.waitForFunction(() => document.querySelector('#db').textContent === 'remember the milk');

  await page.goto(`${base}/popup`);
  const [target] = await Promise.all([
    browser.waitForTarget((t) => t.url().startsWith(`${other}/popped`), { timeout: 90000 }),
    page.click('#open'),
  ]);
  const popup = await target.page();
  await popup.waitForSelector('#close');
  await popup.close();

  await page.goto(`${base}/frame`);
  const inner = await (await page.waitForSelector('#inner')).contentFrame();
  await (await inner.waitForSelector('#say')).click();
  await page.waitForFunction((o) => document.querySelector('#heard').textContent === `${o} hello from inside`, {}, other);

  await page.goto(`${base}/upload`);
  await (await page.waitForSelector('#file')).uploadFile(upload.path);
  await Promise.all([page.waitForNavigation(), page.click('#send')]);
  assert.equal(await page.$eval('#digest', (e) => e.textContent), sha256(upload.data));

  await page.goto(`${base}/socket`);
  await page.waitForFunction(() => document.querySelector('#log').textContent.includes('long 70006'));
}
