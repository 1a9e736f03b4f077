/* The domain loader (loader/loader.h) as data in the image: [loader_blob, loader_blob_end). Read only. */
#ifndef PORT_BLOB_H
#define PORT_BLOB_H

extern const char loader_blob[], loader_blob_end[];

#endif
