"""A user's own files: found, read, cut into chunks, stored in one SQLite file and searched by words and meaning.

    scan -> read -> chunk -> store            text is searchable as soon as this is committed (`indexing`)
                               -> vectors     meaning follows in resumable batches (`meaning`)
    query -> lexical + vectors -> fusion -> hits (`search`)

`library.Library` is the door; everything else here is a part of it.
"""
