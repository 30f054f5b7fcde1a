// A person at a browser, as far as sign-in needs one: follows redirects on the
// authority, keeps cookies, fills the first form of a page and submits it.
export async function signIn(start, redirectUri, user, password) {
  const jar = new Map();
  let request = { url: new URL(start), method: 'GET', body: undefined };
  for (let i = 0; i < 12; i++) {
    const headers = { cookie: [...jar].map(([k, v]) => `${k}=${v}`).join('; ') };
    if (request.body) {
      headers['content-type'] = 'application/x-www-form-urlencoded';
      headers.origin = request.url.origin;
    }
    const res = await fetch(request.url, { method: request.method, body: request.body, headers, redirect: 'manual' });
    for (const c of res.headers.getSetCookie()) {
      const [pair] = c.split(';');
      const at = pair.indexOf('=');
      jar.set(pair.slice(0, at), pair.slice(at + 1));
    }
    const location = res.headers.get('location');
    if (location) {
      const to = new URL(location, request.url);
      if (to.href.startsWith(redirectUri)) return to;
      request = { url: to, method: 'GET' };
      continue;
    }
    const page = await res.text();
    if (res.status !== 200) throw new Error(`sign-in: ${request.url.pathname} answered ${res.status}: ${page.slice(0, 300)}`);
    const form = page.match(/<form[^>]*>[\s\S]*?<\/form>/)?.[0];
    if (!form) throw new Error(`sign-in: no form in ${page.slice(0, 300)}`);
    const attr = (tag, name) => tag.match(new RegExp(`\\b${name}="([^"]*)"`))?.[1].replaceAll('&amp;', '&').replaceAll('&#43;', '+').replaceAll('&#34;', '"') ?? '';
    const values = new URLSearchParams();
    for (const [tag] of form.matchAll(/<input[^>]*>/g)) {
      const name = attr(tag, 'name');
      const type = attr(tag, 'type');
      if (!name) continue;
      if (type === 'hidden') values.set(name, attr(tag, 'value'));
      else if (type === 'password') values.set(name, password);
      else if (type === 'checkbox') values.append(name, attr(tag, 'value'));
      else values.set(name, user);
    }
    const button = form.match(/<button[^>]*\bname="[^"]*"[^>]*>/)?.[0];
    if (button) values.set(attr(button, 'name'), attr(button, 'value'));
    request = { url: new URL(attr(form.match(/<form[^>]*>/)[0], 'action') || request.url, request.url), method: 'POST', body: values.toString() };
  }
  throw new Error('sign-in: too many pages');
}
